package stage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Tool is a program of this machine that shapes the base.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// resolveTools finds out the versions of the programs that shape the base.
func (p *Plan) resolveTools(ctx context.Context) error {
	p.Tools = p.Engine.tools()
	return together(len(p.Tools), func(i int) error { return p.Tools[i].resolve(ctx) })
}

// wholeMap is what uid_map has outside of user namespaces.
const wholeMap = "0 0 4294967295"

// checkNamespace refuses a machine in a user namespace, such as an unprivileged container, for an engine that
// runs programs in the root by package enter: the kernel does not let root mount /proc there.
func (e Engine) checkNamespace(machine fs.FS) error {
	data, err := fs.ReadFile(machine, "proc/self/uid_map")
	if e == Mmdebstrap || err != nil || strings.Join(strings.Fields(string(data)), " ") == wholeMap {
		return nil //nolint:nilerr // a kernel without user namespaces has no such file
	}
	return fault.WrapHint(fault.Failed, fmt.Errorf("engine %s: this is an unprivileged container, in which root cannot mount /proc for the image", e),
		"build in a virtual machine or a privileged container; without scripts, engine: mmdebstrap in the recipe or --engine mmdebstrap works here")
}

func (t *Tool) resolve(ctx context.Context) error {
	if version := perlVersion(t.Name); version != "" {
		t.Version = t.Name + " " + version
		return nil
	}
	res, err := run.Run(ctx, run.Cmd{Path: t.Name, Args: []string{"--version"}, Env: environment(time.Time{})})
	if run.IsNotFound(err) {
		return fault.WrapHint(fault.Failed, fmt.Errorf("%s is not installed", t.Name), "golden images are made on Debian: apt-get install apt dpkg mmdebstrap")
	}
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(res.Stdout), "\n")
	t.Version = strings.TrimSpace(line)
	return nil
}

// perlVersion returns the version that a Perl program gives itself in its first lines;
// "" for any other program. mmdebstrap asks apt for its settings before it says its
// version, which takes a quarter of a second.
func perlVersion(name string) string {
	path, err := run.Find(name)
	if err != nil {
		return ""
	}
	f, err := regular.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read
	lines := bufio.NewScanner(io.LimitReader(f, 8<<10))
	if !lines.Scan() || lines.Text() != "#!/usr/bin/perl" {
		return ""
	}
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "our $VERSION = '"); ok {
			version, ok := strings.CutSuffix(rest, "';")
			if !ok || version == "" || strings.Trim(version, "0123456789.") != "" {
				return ""
			}
			return version
		}
	}
	return ""
}
