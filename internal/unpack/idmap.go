package unpack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const idMapForm = "an id map is b:0:100000:65536, or u:... and g:... for users and groups: first id in the guest, first id on this machine, number of ids"

// Range maps ids of the guest to ids of this machine.
type Range struct {
	Guest, Host, Count int
}

// IDMap maps owners, like the lxc.idmap lines of a guest. The zero value
// leaves all ids as they are.
type IDMap struct {
	UIDs, GIDs []Range
}

// ParseIDMap reads ranges in the form of lxc-usernsexec: type:guest:host:count
// with type u, g or b (both).
func ParseIDMap(specs []string) (IDMap, error) {
	var m IDMap
	for _, spec := range specs {
		parts := strings.Split(spec, ":")
		var r Range
		var errs [3]error
		if len(parts) == 4 {
			r.Guest, errs[0] = strconv.Atoi(parts[1])
			r.Host, errs[1] = strconv.Atoi(parts[2])
			r.Count, errs[2] = strconv.Atoi(parts[3])
		}
		if len(parts) != 4 || errs != [3]error{} || parts[0] != "u" && parts[0] != "g" && parts[0] != "b" {
			return IDMap{}, fault.WrapHint(fault.Misuse, fmt.Errorf("id map %q: want type:guest:host:count", spec), idMapForm)
		}
		if parts[0] != "g" {
			m.UIDs = append(m.UIDs, r)
		}
		if parts[0] != "u" {
			m.GIDs = append(m.GIDs, r)
		}
	}
	if err := m.Check(); err != nil {
		return IDMap{}, err
	}
	return m, nil
}

func (m IDMap) empty() bool { return len(m.UIDs) == 0 && len(m.GIDs) == 0 }

// Check returns an error unless each id of a guest is mapped exactly once, to an id of
// this machine that no other one has. The zero value is valid.
func (m IDMap) Check() error {
	if m.empty() {
		return nil
	}
	for _, kind := range []struct {
		name   string
		ranges []Range
	}{{"user", m.UIDs}, {"group", m.GIDs}} {
		var times [vzdump.MaxID + 1]uint8
		for _, r := range kind.ranges {
			if r.Guest < 0 || r.Host < 0 || r.Count < 1 || r.Guest > vzdump.MaxID || r.Count > vzdump.MaxID+1-r.Guest || r.Host > 1<<31-1-r.Count {
				return fault.WrapHint(fault.Misuse, fmt.Errorf("id map %d:%d:%d: outside of the ids there are", r.Guest, r.Host, r.Count), idMapForm)
			}
			for id := r.Guest; id < r.Guest+r.Count; id++ {
				times[id] = min(times[id]+1, 2)
			}
		}
		for id, n := range times {
			if n != 1 {
				return fault.WrapHint(fault.Misuse, fmt.Errorf("id map: %s id %d is mapped %s, want once", kind.name, id, [...]string{"not at all", "", "more than once"}[n]), idMapForm)
			}
		}
		byHost := slices.SortedFunc(slices.Values(kind.ranges), func(a, b Range) int { return a.Host - b.Host })
		for i, r := range byHost[1:] { // the kernel refuses it, too: two users of the guest would be one
			if before := byHost[i]; before.Host+before.Count > r.Host {
				return fault.WrapHint(fault.Misuse, fmt.Errorf("id map: %s ids %d and %d of the guest are both mapped to %d of this machine", kind.name, before.Guest+r.Host-before.Host, r.Guest, r.Host), idMapForm)
			}
		}
	}
	return nil
}

// Root returns the ids on this machine of the guest's root.
func (m IDMap) Root() (uid, gid int) { return m.host(0, 0) }

// host returns the ids on this machine.
func (m IDMap) host(uid, gid int) (int, int) {
	return mapID(m.UIDs, uid), mapID(m.GIDs, gid)
}

func mapID(ranges []Range, id int) int {
	for _, r := range ranges {
		if id >= r.Guest && id < r.Guest+r.Count {
			return r.Host + id - r.Guest
		}
	}
	return id
}

// capability returns file capabilities with the root of the guest's user
// namespace, as the kernel stores them when tar runs inside it (revision 3).
// Without a map the archive's root is this machine's, and the result has the
// plain form; another root id has no meaning then and is refused.
func (m IDMap) capability(value string) ([]byte, error) {
	c, err := vzdump.ParseCapability(value)
	switch {
	case err != nil:
		return nil, err
	case !m.empty():
		return c.For(mapID(m.UIDs, c.RootID)), nil
	case c.RootID != 0:
		return nil, fmt.Errorf("file capabilities of the root id %d, and no id map to convert it", c.RootID)
	}
	return c.Plain(), nil
}
