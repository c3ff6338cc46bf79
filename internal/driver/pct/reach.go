package pct

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// numberedKey is one of a family, such as mp0.
var numberedKey = regexp.MustCompile(`^(net|dev|mp|unused)[0-9]+$`)

// contained are the keys that act inside of the guest alone, or on its share
// of the node. All other keys are refused: a later PVE may know more.
var contained = []string{
	"arch", "cmode", "console", "cores", "cpulimit", "cpuunits", "hostname", "memory", "nameserver", "net", "onboot", "ostype",
	"searchdomain", "startup", "swap", "tags", "timezone", "tty", "unprivileged", "unused",
}

// allowedFeatures are what a guest with Docker may have.
var allowedFeatures = []string{"fuse", "keyctl", "nesting"}

// reaching lists what of an archive's configuration would reach out of the new
// guest, or keep it from being started or removed. PVE asks nobody when root
// restores, so that whoever made the archive would decide on this node.
func reaching(config *pctconf.Config) (list []string) {
	for _, s := range config.Settings {
		if why := reaches(s, noMounts); why != "" {
			list = append(list, fmt.Sprintf("%s %q: %s", s.Key, s.Value, why))
		}
	}
	list = append(list, reachingLXC(config)...)
	if config.Pending != nil {
		list = append(list, "[pve:pending]: an archive has no pending changes")
	}
	for _, s := range config.Snapshots {
		list = append(list, fmt.Sprintf("[%s]: an archive has no snapshots", s.Name))
	}
	return list
}

// reachingLXC judges LXC's own keys: an id map that keeps to guests' ids may be.
func reachingLXC(config *pctconf.Config) (list []string) {
	for _, s := range config.LXC {
		if s.Key != "lxc.idmap" {
			list = append(list, fmt.Sprintf("%s %q: of LXC's own keys lxc.idmap alone is allowed", s.Key, s.Value))
		}
	}
	ranges, err := pctconf.IDRanges(config)
	if err == nil {
		if err = pctconf.CheckIDRanges(ranges); err != nil {
			err = fmt.Errorf("lxc.idmap: %w", err)
		}
	}
	if err != nil {
		list = append(list, err.Error())
	}
	return list
}

// mountRule reports why a directory of the node may not be a mount, or "".
type mountRule func(source string) string

func noMounts(string) string { return "a directory of the node" }

// reaches reports how one setting reaches out of its guest, "" if it does not.
func reaches(s pctconf.Setting, binds mountRule) string {
	family := s.Key
	if m := numberedKey.FindStringSubmatch(s.Key); m != nil {
		family = m[1]
	}
	switch family {
	case "hookscript":
		return "a program of the node would run with each start"
	case "template", "protection":
		if on, err := pctconf.ParseBool(s.Value); on || err != nil {
			return "the guest could not be started, or not be removed"
		}
		return ""
	case "lock":
		return "no task would ever end it"
	case "dev":
		return "a device of the node"
	case "features":
		return reachingFeatures(s.Value)
	case "rootfs", "mp":
		return reachingVolume(s, family, binds)
	case "debug":
		return ""
	}
	if !slices.Contains(contained, family) {
		return "not a key that a guest may bring"
	}
	return ""
}

func reachingFeatures(value string) string {
	props, err := pctconf.ParseProperties(value, "")
	if err != nil {
		return err.Error()
	}
	for key, v := range props {
		if on, err := pctconf.ParseBool(v); (on || err != nil) && !slices.Contains(allowedFeatures, key) {
			return "of the features " + strings.Join(allowedFeatures, ", ") + " alone are allowed"
		}
	}
	return ""
}

func reachingVolume(s pctconf.Setting, family string, binds mountRule) string {
	props, err := pctconf.ParseProperties(s.Value, "volume")
	volume := props["volume"]
	storage, name, ok := strings.Cut(volume, ":")
	switch {
	case err != nil:
		return err.Error()
	case props["idmap"] != "":
		return "its files would belong to ids of the node"
	case strings.HasPrefix(volume, "/") && (family == "rootfs" || strings.HasPrefix(volume, "/dev/") || filepath.Clean(volume) != volume):
		return "a directory or device of the node"
	case strings.HasPrefix(volume, "/"):
		return binds(volume)
	case !ok || storage == "" || name == "" || strings.Contains(storage, "/"):
		return "not a volume of a storage"
	}
	return ""
}

// guard refuses a guest whose configuration in effect, or at its next start,
// reaches out of it. Snapshots come into effect by a rollback alone, after
// which this looks again. protection, template and lock are the operator's.
func (d *Driver) guard(config *pctconf.Config) error {
	errs := guarded(config, d.checkOwnMount)
	if config.Pending != nil {
		errs = append(errs, guarded(&pctconf.Config{Settings: config.Pending.Settings, LXC: config.Pending.LXC}, d.checkOwnMount)...)
	}
	if on, _ := config.Bool("unprivileged"); !on {
		errs = append(errs, errors.New("unprivileged is not 1: its root would be the node's"))
	}
	if len(errs) == 0 {
		return nil
	}
	return refuse(driver.ErrRefused, "change it with pct set, or in the guest's configuration file; see docs/security.md", "its configuration reaches out of the guest: %s", errors.Join(errs...))
}

// operators are keys of an existing guest that only its operator sets.
var operators = []string{"delete", "lock", "parent", "protection", "template", "entrypoint", "env"}

func guarded(config *pctconf.Config, binds mountRule) (errs []error) {
	for _, s := range config.Settings {
		if slices.Contains(operators, s.Key) {
			continue
		}
		if why := reaches(s, binds); why != "" {
			errs = append(errs, fmt.Errorf("%s %q: %s", s.Key, s.Value, why))
		}
	}
	for _, why := range reachingLXC(config) {
		if strings.HasPrefix(why, "lxc.environment.runtime ") {
			continue // set with pct set --env, for the guest's init alone
		}
		errs = append(errs, errors.New(why))
	}
	return errs
}

// checkOwnMount refuses directories that are not below Options.MountDir.
func (d *Driver) checkOwnMount(source string) string {
	if d.o.MountDir == "" || strings.HasPrefix(source, strings.TrimSuffix(d.o.MountDir, "/")+"/") {
		return ""
	}
	return "a directory of the node outside of " + d.o.MountDir
}
