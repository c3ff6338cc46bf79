package pctconf

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
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

// IDRanges returns the lxc.idmap entries in their order. It does not check what
// they map.
func IDRanges(c *Config) ([]IDRange, error) {
	var all []IDRange
	for _, s := range c.LXC {
		if s.Key != "lxc.idmap" {
			continue
		}
		m := idmapPattern.FindStringSubmatch(s.Value)
		if m == nil {
			return nil, fmt.Errorf("lxc.idmap: %q: want u or g, the guest's first id, the host's first id, a count", s.Value)
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

// RootIDs returns the host's user and group ids of the guest's root, as PVE
// computes them: of the lxc.idmap entries the last one that begins at 0 counts,
// and a map without such an entry leaves root at 0; without any entry
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

// LeastHostID keeps guests away from the ids of a host's own users: a guest's
// root must never be the host's.
const LeastHostID = 65536

// CheckIDRanges refuses a map that reaches ids of the host's own users: each
// range must begin at LeastHostID or above and be within the ids that exist,
// each guest id from 0 to 65535 must be mapped once, and no id of the host
// twice. It accepts an empty list, which means the hypervisor's own map.
func CheckIDRanges(ranges []IDRange) error {
	if len(ranges) == 0 {
		return nil
	}
	return errors.Join(checkKind("u", ranges, false), checkKind("g", ranges, true))
}

func checkKind(kind string, all []IDRange, group bool) error {
	var ranges []IDRange
	for _, r := range all {
		if r.Group == group {
			ranges = append(ranges, r)
		}
	}
	var errs []error
	refuse := func(r IDRange, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s %d %d %d: %s", kind, r.Guest, r.Host, r.Count, fmt.Sprintf(format, args...)))
	}
	slices.SortStableFunc(ranges, func(a, b IDRange) int { return cmp.Compare(a.Host, b.Host) })
	for i, r := range ranges {
		switch {
		case r.Host < LeastHostID:
			refuse(r, "the ids of this host below %d are its own users'", LeastHostID)
		case r.Count < 1 || r.Guest >= LeastHostID || r.Count > LeastHostID-r.Guest || r.Host > 1<<31-1-r.Count:
			refuse(r, "outside of the ids that exist")
		}
		if i > 0 && r.Host < ranges[i-1].Host+ranges[i-1].Count {
			refuse(r, "id %d of this host is mapped already", r.Host)
		}
	}
	slices.SortStableFunc(ranges, func(a, b IDRange) int { return cmp.Compare(a.Guest, b.Guest) })
	next := 0
	for _, r := range ranges {
		if r.Guest != next {
			refuse(r, "want the next range of the guest to begin at %d", next)
		}
		next = r.Guest + r.Count
	}
	if next != LeastHostID {
		errs = append(errs, fmt.Errorf("%s: the guest's ids from %d on are not mapped", kind, next))
	}
	return errors.Join(errs...)
}
