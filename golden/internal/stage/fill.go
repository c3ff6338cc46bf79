package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/debroot"
	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Engine is what installs the packages of a base.
type Engine string

// The engines, as [recipe.Engines] has them. Both give the same base.
const (
	// Mmdebstrap installs with mmdebstrap.
	Mmdebstrap Engine = "mmdebstrap"
	// Dpkg installs with the image's own dpkg, from a store of packages in the cache: see package debroot.
	Dpkg Engine = "dpkg"
)

// ParseEngine returns the engine with this name; "" leaves it to the recipe.
func ParseEngine(name string) (Engine, error) {
	if name != "" && !slices.Contains(recipe.Engines, name) {
		return "", fault.WrapHint(fault.Misuse, fmt.Errorf("engine %q: want %s", name, strings.Join(recipe.Engines, " or ")), "leave --engine out: engine in the recipe says it")
	}
	return Engine(name), nil
}

// tools are the programs of this machine that shape a base which e makes.
func (e Engine) tools() []Tool {
	if e == Dpkg {
		return []Tool{{Name: "apt-get"}, {Name: "dpkg"}}
	}
	return []Tool{{Name: "apt-get"}, {Name: "dpkg"}, {Name: "mmdebstrap"}}
}

// checkExec refuses a root in which no program can run, before anything is fetched for it.
func checkExec(root string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil || fs.Flags&unix.MS_NOEXEC == 0 { // ST_NOEXEC has the same number
		return nil //nolint:nilerr // a file system that does not say it may be good
	}
	return fault.WrapHint(fault.Failed, fmt.Errorf("install packages: %s is on a file system that is mounted with noexec", root),
		"name a directory of another file system with --cache")
}

// fill installs the packages in root.
func (p *Plan) fill(ctx context.Context, root string, c Cache, h Hooks) error {
	if err := checkExec(root); err != nil {
		return err
	}
	if p.Engine == Mmdebstrap {
		return p.bootstrap(ctx, root, h)
	}
	done := begin(h, "packages")
	log := &transcript{to: h.Log}
	counter := newPackageCounter(h.Packages)
	err := debroot.Fill(ctx, root, debroot.Request{
		Suite: p.Recipe.Suite, Arch: p.Recipe.Arch, Sources: p.Sources, Releases: p.Releases, Packages: p.Packages,
		Snapshot: p.Recipe.Apt.Snapshot != "", Key: p.choiceKey, State: p.stateKey, Cache: c.Dir, Env: environment(p.Epoch),
		ScriptEnv: enter.MergeEnv(enter.BaseEnv(), append(scriptEnvironment(p.Epoch), "LANGUAGE=C.UTF-8", "DEBCONF_NONINTERACTIVE_SEEN=true")...),
	}, debroot.Watch{Log: log, Dpkg: counter, Expect: counter.expect})
	if err != nil {
		var program *run.Error
		var dpkg *debroot.DpkgError
		if errors.As(err, &program) || errors.As(err, &dpkg) {
			// What dpkg-deb says is in the error alone.
			return classify("apt or dpkg", err, log.String()+"\n"+err.Error(), p)
		}
		if cannotRun.MatchString(err.Error()) {
			return fault.WrapHint(fault.Failed, err, "this machine does not run programs of "+p.Recipe.Arch+": apt-get install qemu-user-static, or build on a machine that does")
		}
		return diskHint(err)
	}
	done()
	return nil
}
