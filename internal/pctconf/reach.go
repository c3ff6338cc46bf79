package pctconf

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// insideKeys are the keys, without their numbers, that act only in the guest or
// on its share of the host. Any other key whose value is not checked is
// refused: a later PVE may do more with it.
var insideKeys = []string{
	"arch", "cmode", "console", "cores", "cpulimit", "cpuunits", "debug", "hostname", "memory", "nameserver", "net", "onboot", "ostype",
	"searchdomain", "startup", "swap", "tags", "timezone", "tty", "unprivileged", "unused",
}

// insideFeatures are the features that a guest may have.
var insideFeatures = []string{"fuse", "keyctl", "nesting"}

// SourceKeys describe the guest that was saved, or name a program of its host.
// They do not belong in an archive.
var SourceKeys = []string{"hookscript", "lock", "parent", "snapstate", "snaptime", "template"}

// numberedKey is one of a family, such as mp0.
var numberedKey = regexp.MustCompile(`^(net|dev|mp|unused)[0-9]+$`)

// Family returns the key without its number: "mp" for mp0.
func (s Setting) Family() string {
	if m := numberedKey.FindStringSubmatch(s.Key); m != nil {
		return m[1]
	}
	return s.Key
}

// ReachingOut returns the settings of an archive's configuration that reach out
// of the new guest, or prevent its start or removal, in the order of the file.
// PVE accepts them from root, so that the maker of the archive would decide
// about the host. [Parse] finds what is not valid.
func ReachingOut(c *Config) []Finding {
	var list []Finding
	refuse := func(line int, key, format string, args ...any) {
		list = append(list, Finding{Line: line, Key: key, Severity: Error, Message: fmt.Sprintf(format, args...)})
	}
	for _, s := range c.Settings {
		if why := s.ReachesOut(nil); why != "" {
			refuse(s.Line, s.Key, "%q: %s", s.Value, why)
		}
	}
	list = append(list, LXCReachingOut(c.LXC)...)
	if c.Pending != nil {
		refuse(c.Pending.Line, "[pve:pending]", "an archive has no pending changes")
	}
	for _, s := range c.Snapshots {
		refuse(s.Line, "["+s.Name+"]", "an archive has no snapshots")
	}
	return list
}

// LXCReachingOut checks LXC's own keys: lxc.idmap is allowed if it maps to the
// ids of guests only.
func LXCReachingOut(lxc []Setting) []Finding {
	var list []Finding
	for _, s := range lxc {
		if s.Key != "lxc.idmap" {
			list = append(list, Finding{Line: s.Line, Key: s.Key, Severity: Error, Message: fmt.Sprintf("%q: of LXC's own keys lxc.idmap alone is allowed", s.Value)})
		}
	}
	ranges, err := IDRanges(&Config{LXC: lxc})
	if err == nil {
		err = CheckIDRanges(ranges)
	}
	if err != nil {
		first := slices.IndexFunc(lxc, func(s Setting) bool { return s.Key == "lxc.idmap" })
		list = append(list, Finding{Line: lxc[first].Line, Key: "lxc.idmap", Severity: Error, Message: strings.TrimPrefix(err.Error(), "lxc.idmap: ")})
	}
	return list
}

// ReachesOut returns how the setting reaches out of its guest, or prevents its
// start or removal; "" if it does not. own reports whether a mounted directory or
// volume belongs to the guest; nil is for an archive, which may have volumes only.
func (s Setting) ReachesOut(own func(m Mount) error) string {
	switch family := s.Family(); family {
	case "hookscript":
		return "a program of the host would run with each start"
	case "template", "protection":
		if on, err := ParseBool(s.Value); on || err != nil {
			return "the guest could not be started, or not be removed"
		}
	case "lock":
		return "no task would ever end it"
	case "dev":
		return "a device of the host"
	case "features":
		return s.featuresReachOut()
	case "rootfs", "mp":
		return s.volumeReachesOut(family, own)
	default:
		if !slices.Contains(insideKeys, family) {
			return "not a key that a guest may bring"
		}
	}
	return ""
}

func (s Setting) featuresReachOut() string {
	props, err := ParseProperties(s.Value, "")
	if err != nil {
		return err.Error()
	}
	for key, v := range props {
		if on, err := ParseBool(v); (on || err != nil) && !slices.Contains(insideFeatures, key) {
			return "of the features " + strings.Join(insideFeatures, ", ") + " alone are allowed"
		}
	}
	return ""
}

func (s Setting) volumeReachesOut(family string, own func(Mount) error) string {
	props, err := ParseProperties(s.Value, "volume")
	volume := props["volume"]
	storage, name, ok := strings.Cut(volume, ":")
	switch {
	case err != nil:
		return err.Error()
	case props["idmap"] != "":
		return "its files would belong to ids of the host"
	case strings.HasPrefix(volume, "/") && (family == "rootfs" || strings.HasPrefix(volume, "/dev/") || path.Clean(volume) != volume):
		return "a directory or device of the host"
	case strings.HasPrefix(volume, "/") && own == nil:
		return "a directory of the host"
	case own != nil:
		if err := own(Mount{Source: volume, Target: props["mp"]}); err != nil {
			return err.Error()
		}
	case !ok || storage == "" || name == "" || strings.Contains(storage, "/"):
		return "not a volume of a storage"
	}
	return ""
}
