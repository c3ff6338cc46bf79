package vzdump

import (
	"math/bits"
	"strings"
)

// Oddity is a set of facts about a member, or about all of them, that PVE's
// restore tolerates but that a canonical archive does not have.
type Oddity uint32

// The oddities of a member.
const (
	// ControlChars: the name or link text has bytes below 0x20, or 0x7f.
	ControlChars Oddity = 1 << iota
	// Duplicate: an earlier member has the path. Restore keeps the first one.
	Duplicate
	// NoParent: a parent directory has no member so far, so that restore makes
	// it 0755 root:root. The two members below etc/vzdump are exempt.
	NoParent
	// LateDir: a directory after one of its children. Restore does not apply
	// its mode and owner.
	LateDir
	// BadLink: a hard link whose target is no earlier file. Restore fails.
	BadLink
	// UnderDev: below ./dev/. Restore leaves it out.
	UnderDev
	// Sparse: stored with holes.
	Sparse
	// SubSecond: the modification time has a fraction.
	SubSecond
	// Times: has an access or change time.
	Times
	// OwnerNames: has the name of an owner or group.
	OwnerNames
	// OtherXattr: an extended attribute outside user.* and
	// security.capability. Restore drops it.
	OtherXattr
	// UnknownRecord: a pax record that is neither one of the above nor in the
	// standard.
	UnknownRecord
	endOfOddities
)

var oddityNames = map[Oddity]string{
	ControlChars: "control-chars", Duplicate: "duplicate",
	NoParent: "no-parent", LateDir: "late-dir", BadLink: "bad-link", UnderDev: "under-dev",
	Sparse: "sparse", SubSecond: "sub-second", Times: "times", OwnerNames: "owner-names",
	OtherXattr: "other-xattr", UnknownRecord: "unknown-record",
}

// Has reports whether all of want are in the set.
func (o Oddity) Has(want Oddity) bool { return o&want == want }

// String lists the names, comma-separated, in the order of declaration.
func (o Oddity) String() string {
	var names []string
	for rest := uint32(o); rest != 0; rest &= rest - 1 {
		name, ok := oddityNames[1<<bits.TrailingZeros32(rest)]
		if !ok {
			name = "?"
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// Oddities returns every oddity, in the order of declaration.
func Oddities() []Oddity {
	var all []Oddity
	for o := Oddity(1); o < endOfOddities; o <<= 1 {
		all = append(all, o)
	}
	return all
}
