package pct

import (
	"errors"
	"fmt"
	"slices"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// guard refuses a guest whose configuration in effect, or at its next start,
// reaches out of it. Snapshots take effect only by a rollback, after which this
// is checked again. Only the operator sets protection, template and lock.
func (d *Driver) guard(vmid int, config *pctconf.Config) error {
	own := func(m driver.Mount) error { return driver.CheckOwner(d.o.MountDir, vmid, m) }
	errs := guarded(config, own)
	if config.Pending != nil {
		errs = append(errs, guarded(&pctconf.Config{Settings: config.Pending.Settings, LXC: config.Pending.LXC}, own)...)
	}
	if on, _ := config.Bool("unprivileged"); !on {
		errs = append(errs, errors.New("unprivileged is not 1: its root would be the node's"))
	}
	if len(errs) == 0 {
		return nil
	}
	return driver.Faultf(driver.ErrRefused, "change it with pct set, or in the guest's configuration file; see docs/security.md", "its configuration reaches out of the guest: %s", errors.Join(errs...))
}

// operators are keys of an existing guest that only its operator sets.
var operators = []string{"delete", "lock", "parent", "protection", "template", "entrypoint", "env"}

func guarded(config *pctconf.Config, own func(m driver.Mount) error) (errs []error) {
	for _, s := range config.Settings {
		if slices.Contains(operators, s.Key) {
			continue
		}
		if why := s.ReachesOut(own); why != "" {
			errs = append(errs, fmt.Errorf("%s %q: %s", s.Key, s.Value, why))
		}
	}
	for _, f := range pctconf.LXCReachingOut(config.LXC) {
		if f.Key != "lxc.environment.runtime" { // set with pct set --env, for the guest's init alone
			errs = append(errs, errors.New(f.String()))
		}
	}
	return errs
}
