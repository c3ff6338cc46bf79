package pctconf

import (
	"fmt"
	"regexp"
	"strconv"
)

// defaultRoot is the host id of root in an unprivileged guest without an id
// map of its own: the same in every guest on every host.
const defaultRoot = 100000

var idmapPattern = regexp.MustCompile(`^([ug])\s+([0-9]+)\s+([0-9]+)\s+([0-9]+)\s*$`)

// RootIDs returns the user and group of the host that the guest's root is, as
// PVE computes it: of the lxc.idmap entries the last one that begins at 0
// counts, and a map without such an entry leaves root at 0; without any entry
// "unprivileged" decides.
func RootIDs(c *Config) (uid, gid int, err error) {
	found := false
	for _, s := range c.LXC {
		if s.Key != "lxc.idmap" {
			continue
		}
		found = true
		m := idmapPattern.FindStringSubmatch(s.Value)
		if m == nil {
			return 0, 0, fmt.Errorf("lxc.idmap: %q: wanted u or g, the guest's first id, the host's first id, a count", s.Value)
		}
		host, err := strconv.ParseUint(m[3], 10, 31)
		if err != nil {
			return 0, 0, fmt.Errorf("lxc.idmap: %q: %w", s.Value, err)
		}
		if first, err := strconv.ParseUint(m[2], 10, 31); err != nil || first != 0 {
			continue // an entry for other ids than root's
		}
		if m[1] == "u" {
			uid = int(host)
		} else {
			gid = int(host)
		}
	}
	if unprivileged, _ := c.Bool("unprivileged"); !found && unprivileged {
		return defaultRoot, defaultRoot, nil
	}
	return uid, gid, nil
}
