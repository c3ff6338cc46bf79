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

// IDRange is an lxc.idmap entry: Count ids from Guest on are those of the host
// from Host on.
type IDRange struct {
	Group              bool // else of users
	Guest, Host, Count int
}

// IDRanges returns the lxc.idmap entries in their order. What they map, and
// whether that is wise, is for the caller to judge.
func IDRanges(c *Config) ([]IDRange, error) {
	var all []IDRange
	for _, s := range c.LXC {
		if s.Key != "lxc.idmap" {
			continue
		}
		m := idmapPattern.FindStringSubmatch(s.Value)
		if m == nil {
			return nil, fmt.Errorf("lxc.idmap: %q: wanted u or g, the guest's first id, the host's first id, a count", s.Value)
		}
		r := IDRange{Group: m[1] == "g"}
		for i, field := range []*int{&r.Guest, &r.Host, &r.Count} {
			n, err := strconv.ParseUint(m[i+2], 10, 31)
			if err != nil {
				return nil, fmt.Errorf("lxc.idmap: %q: %w", s.Value, err)
			}
			*field = int(n)
		}
		all = append(all, r)
	}
	return all, nil
}

// RootIDs returns the user and group of the host that the guest's root is, as
// PVE computes it: of the lxc.idmap entries the last one that begins at 0
// counts, and a map without such an entry leaves root at 0; without any entry
// "unprivileged" decides.
func RootIDs(c *Config) (uid, gid int, err error) {
	ranges, err := IDRanges(c)
	if err != nil {
		return 0, 0, err
	}
	for _, r := range ranges {
		switch {
		case r.Guest != 0: // an entry for other ids than root's
		case r.Group:
			gid = r.Host
		default:
			uid = r.Host
		}
	}
	if unprivileged, _ := c.Bool("unprivileged"); len(ranges) == 0 && unprivileged {
		return defaultRoot, defaultRoot, nil
	}
	return uid, gid, nil
}
