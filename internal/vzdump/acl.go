package vzdump

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ACL is a POSIX access control list, in the kernel's order.
type ACL []ACLEntry

// ACLEntry gives one user, group or class its rights. ID counts only for
// [ACLUser] and [ACLGroup].
type ACLEntry struct {
	Tag  ACLTag
	Perm uint16 // 4 read, 2 write, 1 execute
	ID   int
	Name string // in place of ID: GNU tar writes the names of its machine
}

// ACLTag is the kernel's number for the subject of an entry (acl(5)).
type ACLTag uint16

// The tags. Owner, OwningGroup and Other are the three of the mode.
const (
	ACLOwner       ACLTag = 0x01
	ACLUser        ACLTag = 0x02
	ACLOwningGroup ACLTag = 0x04
	ACLGroup       ACLTag = 0x08
	ACLMask        ACLTag = 0x10
	ACLOther       ACLTag = 0x20
)

// parseACL reads the text of a SCHILY.acl record: entries by line or comma, and
// after each the rights in effect, which GNU tar may add. Blanks, empty lines and
// other comments are refused: GNU tar may leave out the whole list for one.
func parseACL(text string) (ACL, error) {
	var list ACL
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), ",", "\n"), "\n") {
		if entry, _, ok := strings.Cut(line, "\t#effective:"); ok {
			line = strings.TrimRight(entry, "\t")
		}
		e, err := parseACLEntry(line)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list.sorted()
}

// sorted brings the list into the kernel's order and checks that it is
// complete.
func (a ACL) sorted() (ACL, error) {
	list := slices.Clone(a)
	slices.SortFunc(list, func(a, b ACLEntry) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.ID, b.ID), strings.Compare(a.Name, b.Name))
	})
	count := map[ACLTag]int{}
	for i, e := range list {
		count[e.Tag]++
		if i > 0 && e.Tag == list[i-1].Tag && e.ID == list[i-1].ID && e.Name == list[i-1].Name {
			return nil, errors.New("two entries of the access control list are for the same user, group or class")
		}
	}
	named := count[ACLUser]+count[ACLGroup] > 0
	if count[ACLOwner] != 1 || count[ACLOwningGroup] != 1 || count[ACLOther] != 1 || named && count[ACLMask] != 1 {
		return nil, errors.New("an access control list needs an entry for owner, group and other, and a mask beside named ones")
	}
	return list, nil
}

func parseACLEntry(line string) (ACLEntry, error) {
	bad := fmt.Errorf("%.64q is not an entry of an access control list (user:1000:rw-)", line)
	parts := strings.Split(line, ":")
	if len(parts) != 3 || len(parts[2]) != 3 {
		return ACLEntry{}, bad
	}
	var e ACLEntry
	switch kind := parts[0]; {
	case kind == "user" && parts[1] == "":
		e.Tag = ACLOwner
	case kind == "user":
		e.Tag = ACLUser
	case kind == "group" && parts[1] == "":
		e.Tag = ACLOwningGroup
	case kind == "group":
		e.Tag = ACLGroup
	case kind == "mask" && parts[1] == "":
		e.Tag = ACLMask
	case kind == "other" && parts[1] == "":
		e.Tag = ACLOther
	default:
		return ACLEntry{}, bad
	}
	switch id, err := decimal(parts[1]); {
	case parts[1] == "":
	case parts[1][0] >= '0' && parts[1][0] <= '9':
		if err != nil || id > MaxID {
			return ACLEntry{}, fmt.Errorf("%w; ids are 0 to %d", bad, MaxID)
		}
		e.ID = int(id)
	case strings.IndexFunc(parts[1], func(r rune) bool { return r <= ' ' || r == 0x7f }) >= 0:
		return ACLEntry{}, bad
	default:
		e.Name = strings.Clone(parts[1])
	}
	for i, letter := range "rwx" {
		switch rune(parts[2][i]) {
		case letter:
			e.Perm |= 4 >> i
		case '-':
		default:
			return ACLEntry{}, bad
		}
	}
	return e, nil
}

// Resolve returns the list with ids for names, as user and group give them.
func (a ACL) Resolve(user, group func(name string) (int, error)) (ACL, error) {
	list := slices.Clone(a)
	for i, e := range list {
		if e.Name == "" {
			continue
		}
		lookup := user
		if e.Tag == ACLGroup {
			lookup = group
		}
		id, err := lookup(e.Name)
		if err == nil && (id < 0 || id > MaxID) {
			err = fmt.Errorf("its id %d is not one of 0 to %d", id, MaxID)
		}
		if err != nil {
			return nil, fmt.Errorf("access control list: %q: %w", e.Name, err)
		}
		list[i].ID, list[i].Name = id, ""
	}
	return list.sorted()
}

// Xattr returns the list in the form of the kernel's attributes
// system.posix_acl_access and system.posix_acl_default, with its ids mapped by
// user and group.
func (a ACL) Xattr(user, group func(id int) int) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 2) // the version
	for _, e := range a {
		id := ^uint32(0)
		switch e.Tag {
		case ACLUser:
			id = uint32(user(e.ID))
		case ACLGroup:
			id = uint32(group(e.ID))
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(e.Tag))
		out = binary.LittleEndian.AppendUint16(out, e.Perm)
		out = binary.LittleEndian.AppendUint32(out, id)
	}
	return out
}

// String returns the list as getfacl prints it, on one line.
func (a ACL) String() string {
	names := map[ACLTag]string{ACLOwner: "user", ACLUser: "user", ACLOwningGroup: "group", ACLGroup: "group", ACLMask: "mask", ACLOther: "other"}
	parts := make([]string, 0, len(a))
	for _, e := range a {
		id := ""
		if e.Tag == ACLUser || e.Tag == ACLGroup {
			id = fmt.Sprint(e.ID)
			if e.Name != "" {
				id = e.Name
			}
		}
		perm := []byte("rwx")
		for i := range perm {
			if e.Perm&(4>>i) == 0 {
				perm[i] = '-'
			}
		}
		parts = append(parts, fmt.Sprintf("%s:%s:%s", names[e.Tag], id, perm))
	}
	return strings.Join(parts, ",")
}
