package stage

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
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

// neededIDs is how many ids an image may use: the last one, 65534, is that of the user without files.
const neededIDs = 65535

// checkIDs refuses a machine in a user namespace, such as an unprivileged container, that lacks ids of the image: dpkg
// would end in the middle, when it gives a file its owner.
func checkIDs(machine fs.FS) error {
	for _, kind := range []string{"uid", "gid"} {
		data, err := fs.ReadFile(machine, "proc/self/"+kind+"_map")
		if err != nil {
			continue // a kernel without user namespaces has no such file
		}
		if next := firstMissing(string(data)); next < neededIDs {
			return fault.WrapHint(fault.Failed, fmt.Errorf("install packages: the user namespace of this process has no %s %d, and an image needs those from 0 to %d", kind, next, neededIDs-1),
				"build as root, in a container that maps 65536 ids, or in a virtual machine")
		}
	}
	return nil
}

// firstMissing returns the lowest id that a map of the kernel does not have.
func firstMissing(table string) (next uint64) {
	type ids struct{ first, count uint64 }
	var list []ids
	for line := range strings.Lines(table) {
		var r ids
		var outside uint64
		if _, err := fmt.Sscan(line, &r.first, &outside, &r.count); err == nil {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b ids) int { return cmp.Compare(a.first, b.first) })
	for _, r := range list {
		if r.first > next {
			break
		}
		next = max(next, r.first+r.count)
	}
	return next
}

func (t *Tool) resolve(ctx context.Context) error {
	if version := perlVersion(t.Name); version != "" {
		t.Version = t.Name + " " + version
		return nil
	}
	res, err := run.Run(ctx, run.Cmd{Path: t.Name, Args: []string{"--version"}, Env: environment(time.Time{})})
	if run.IsNotFound(err) {
		return fault.WrapHint(fault.Failed, fmt.Errorf("%s is not installed", t.Name), "golden images are made on Debian: apt-get install "+strings.TrimSuffix(t.Name, "-get"))
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
