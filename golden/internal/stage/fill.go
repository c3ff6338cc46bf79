package stage

import (
	"context"
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/golden/internal/debroot"
	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Engine is what installs the packages of a base.
type Engine string

// The engines. Both give the same base.
const (
	// Mmdebstrap installs with mmdebstrap.
	Mmdebstrap Engine = "mmdebstrap"
	// Dpkg installs with the image's own dpkg, from a store of packages in the cache: see package debroot.
	Dpkg Engine = "dpkg"
)

// DefaultEngine is the one that is used if none is named.
const DefaultEngine = Mmdebstrap

// ParseEngine returns the engine with this name; "" is the default.
func ParseEngine(name string) (Engine, error) {
	switch e := Engine(name); e {
	case "":
		return DefaultEngine, nil
	case Mmdebstrap, Dpkg:
		return e, nil
	}
	return "", fault.WrapHint(fault.Misuse, fmt.Errorf("engine %q: want %s or %s", name, Dpkg, Mmdebstrap), "leave --engine out: the default is "+string(DefaultEngine))
}

// tools are the programs of this machine that shape a base which e makes.
func (e Engine) tools() []Tool {
	if e == Dpkg {
		return []Tool{{Name: "apt-get"}, {Name: "dpkg"}}
	}
	return []Tool{{Name: "apt-get"}, {Name: "dpkg"}, {Name: "mmdebstrap"}}
}

// fill installs the packages in root.
func (p *Plan) fill(ctx context.Context, root string, c Cache, h Hooks) error {
	if p.Engine == Mmdebstrap {
		return p.bootstrap(ctx, root, h)
	}
	done := begin(h, "packages")
	log := &transcript{to: h.Log}
	counted := &transcript{counter: newPackageCounter(h.Packages)}
	err := debroot.Fill(ctx, root, debroot.Request{
		Suite: p.Recipe.Suite, Arch: p.Recipe.Arch, Sources: p.Sources, Releases: p.Releases, Packages: p.Packages,
		Snapshot: p.Recipe.Apt.Snapshot != "", Key: p.choiceKey, Cache: c.Dir, Env: environment(p.Epoch),
		ScriptEnv: enter.MergeEnv(enter.BaseEnv(), append(scriptEnvironment(p.Epoch), "LANGUAGE=C.UTF-8", "DEBCONF_NONINTERACTIVE_SEEN=true")...),
	}, debroot.Watch{Log: log, Dpkg: counted, Expect: counted.expect})
	if err != nil {
		var program *run.Error
		var dpkg *debroot.DpkgError
		if errors.As(err, &program) || errors.As(err, &dpkg) {
			return classify("apt or dpkg", err, log.String(), p)
		}
		return diskHint(err)
	}
	done()
	return nil
}
