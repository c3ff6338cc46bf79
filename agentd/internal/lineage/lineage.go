// Package lineage notices, from the configurations of guests alone, that the disk
// of a guest is not the one that its tokens were given to: it was rolled back,
// another guest was made in its place, or it was copied to another guest. Call
// [Of] for each configuration and [State.Compare] for each look, and keep the
// State between two of them, also over a restart.
//
// What it does not see: a storage that is rolled back below the hypervisor, and a
// rollback to the snapshot that is the parent already, if it begins and ends
// between two looks.
package lineage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// Kind is what happened to a guest.
type Kind int

// The kinds.
const (
	// RolledBack means that its disk is an earlier state of itself.
	RolledBack Kind = iota + 1
	// Replaced means that the VMID has another guest, or the guest from a backup.
	Replaced
	// Copied means that another guest has its ID, its MAC or its config mount.
	Copied
)

// Event is what happened to one guest that is known.
type Event struct {
	VMID   int
	Kind   Kind
	Detail string // one line, without secrets
	Before string // ID that the guest had in its description before
}

// Guest is what a configuration says about where a guest comes from.
type Guest struct {
	ID        string            `json:"id,omitempty"` // that its maker wrote into the description
	MACs      []string          `json:"macs,omitempty"`
	Mounts    []string          `json:"mounts,omitempty"`    // directories of the host
	Parent    string            `json:"parent,omitempty"`    // the snapshot that it is based on
	Snapshots map[string]string `json:"snapshots,omitempty"` // times of those that are complete
	Lock      string            `json:"lock,omitempty"`
	Disk      string            `json:"disk,omitempty"` // identifies its root file system; "": not known
	IsGone    bool              `json:"gone,omitempty"`
}

// maxSnapshots bounds what is kept of one guest.
const maxSnapshots = 1000

// Of returns what a configuration says. id returns the ID in a description. All of it
// is UTF-8, as a State is when it was kept: another text would be another guest after
// a restart.
func Of(c *pctconf.Config, id func(description string) string) Guest {
	g := Guest{ID: valid(id(c.Description)), Snapshots: map[string]string{}}
	g.Parent, _ = c.Get("parent")
	g.Lock, _ = c.Get("lock")
	g.Parent, g.Lock = valid(g.Parent), valid(g.Lock)
	for number := range 32 {
		if n, ok, err := c.Net(number); ok && err == nil && n.MAC != "" {
			g.MACs = append(g.MACs, strings.ToLower(n.MAC))
		}
	}
	for _, p := range c.Mounts() {
		if p.IsDirectory() {
			g.Mounts = append(g.Mounts, valid(p.Source))
		}
	}
	for _, s := range c.Snapshots[:min(len(c.Snapshots), maxSnapshots)] {
		time, isComplete := "", true
		for _, setting := range s.Settings {
			switch setting.Key {
			case "snaptime":
				time = setting.Value
			case "snapstate":
				// PVE writes a snapshot before it makes it, and makes it the parent later;
				// that is not a rollback. It refuses to roll back to one that has a state.
				isComplete = false
			}
		}
		if time != "" && isComplete {
			g.Snapshots[valid(s.Name)] = valid(time)
		}
	}
	return g
}

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// Known is what the host knows of a guest itself.
type Known struct {
	ID    string // that it gave the guest when it made it; "": it did not
	Mount string // directory of its config mount
}

// State is what was seen at the last look. The zero value is that of no look.
type State struct {
	Guests map[int]Guest     `json:"guests"`
	Copies map[string]string `json:"copies,omitempty"` // that were told, by the two VMIDs
}

// Compare returns what happened to the known guests since the last look, sorted
// by VMID, and makes now the last look. isElsewhere reports whether a guest that
// now does not have is on another node: such a guest is not gone.
func (s *State) Compare(now map[int]Guest, known map[int]Known, isElsewhere func(vmid int) bool) []Event {
	var events []Event
	guests := map[int]Guest{}
	knownVMIDs, all := slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(now))
	for _, vmid := range knownVMIDs {
		before, isSeen := s.Guests[vmid]
		is, exists := now[vmid]
		switch {
		case exists:
			guests[vmid] = is
			if !isSeen {
				break
			}
			if kind, detail := compare(before, is, known[vmid]); kind != 0 {
				events = append(events, Event{VMID: vmid, Kind: kind, Detail: detail, Before: before.ID})
			}
		case isSeen && !isElsewhere(vmid):
			before.IsGone = true
			guests[vmid] = before
		}
	}
	copies := map[string]string{}
	for _, of := range knownVMIDs {
		for _, vmid := range all {
			what := ""
			if vmid != of {
				what = isCopy(now[vmid], now[of], known[of])
			}
			if what == "" {
				continue
			}
			pair := fmt.Sprintf("%d %d", of, vmid)
			if copies[pair] = what; s.Copies[pair] == "" {
				events = append(events, Event{VMID: of, Kind: Copied, Detail: fmt.Sprintf("guest %d %s", vmid, what)})
			}
		}
	}
	s.Guests, s.Copies = guests, copies
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.VMID, b.VMID) })
	return events
}

// compare returns what happened between two looks at a guest; 0: nothing.
func compare(before, now Guest, known Known) (Kind, string) {
	switch {
	case IsOwn(now, known, before.ID):
		return 0, ""
	case now.Lock == "rollback" && before.Lock != "rollback":
		return RolledBack, "the hypervisor rolls it back"
	case isRolledBack(before, now):
		return RolledBack, fmt.Sprintf("it is based on snapshot %q now", now.Parent)
	case now.Lock == "create" && before.Lock != "create":
		return Replaced, "the hypervisor restores it"
	case before.IsGone:
		return Replaced, "it was removed and made again"
	case now.ID != before.ID && now.ID != "" && now.ID != known.ID:
		return Replaced, "its description has the ID of another guest"
	case before.Disk != "" && now.Disk != "" && before.Disk != now.Disk:
		return Replaced, "it has another root file system"
	}
	return 0, ""
}

// IsOwn reports whether the host itself has made the guest since its description had
// the ID before: the host's provisioning has written its own both here and there.
func IsOwn(now Guest, known Known, before string) bool {
	return now.ID != "" && now.ID == known.ID && now.ID != before
}

// isRolledBack reports whether the guest is based on a snapshot that existed
// before, and was not. A new snapshot becomes the parent too, and a removed one
// gives its own parent to what was based on it.
func isRolledBack(before, now Guest) bool {
	if now.Parent == before.Parent || now.Parent == "" || now.Lock == "snapshot-delete" {
		return false
	}
	time, wasThere := before.Snapshots[now.Parent]
	if !wasThere || time != now.Snapshots[now.Parent] {
		return false
	}
	_, isLeft := now.Snapshots[before.Parent]
	return before.Parent == "" || isLeft
}

// isCopy returns what shows that a guest is a copy of another one, "" if nothing does.
func isCopy(g, of Guest, known Known) string {
	switch {
	case known.Mount != "" && slices.Contains(g.Mounts, known.Mount):
		return "mounts its directory " + known.Mount
	case known.ID != "" && g.ID == known.ID:
		return "has its ID in the description"
	}
	for _, mac := range g.MACs {
		if slices.Contains(of.MACs, mac) {
			return "has its MAC " + mac
		}
	}
	return ""
}
