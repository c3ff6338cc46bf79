package vzdump

import (
	"encoding/binary"
	"fmt"
)

// Capability is the value of a file's capabilities (capabilities(7)).
type Capability struct {
	RootID int    // of the user namespace that it is for; 0 is the guest's own
	value  string // revision 2, without the root id
}

// ParseCapability reads revisions 2 and 3 as the kernel does. It refuses
// everything else: the kernel does not set revision 1, nor unknown revisions
// and flags.
func ParseCapability(value string) (Capability, error) {
	const revision2, revision3, effective = 0x02000000, 0x03000000, 1
	if len(value) < 4 {
		return Capability{}, fmt.Errorf("file capabilities of %d bytes: want 20 or 24", len(value))
	}
	magic := binary.LittleEndian.Uint32([]byte(value))
	switch kind := magic &^ effective; {
	case kind == revision2 && len(value) == 20:
		return Capability{value: value}, nil
	case kind == revision3 && len(value) == 24:
		out := []byte(value[:20])
		binary.LittleEndian.PutUint32(out, magic&effective|revision2)
		root := binary.LittleEndian.Uint32([]byte(value[20:]))
		if root > MaxID {
			return Capability{}, fmt.Errorf("file capabilities of the root id %d: want an id of the guest, up to %d", root, MaxID)
		}
		return Capability{RootID: int(root), value: string(out)}, nil
	}
	return Capability{}, fmt.Errorf("file capabilities of %d bytes with the revision and flags %#08x: want revision 2 of 20 bytes or 3 of 24", len(value), magic)
}

// Plain returns revision 2, which has no root id: the capabilities are valid in
// the user namespace of the process that sets them.
func (c Capability) Plain() []byte { return []byte(c.value) }

// For returns revision 3: the capabilities are valid only in the user namespace
// whose root is the host's user root, and below it.
func (c Capability) For(root int) []byte {
	const revision2, revision3 = 0x02000000, 0x03000000
	out := []byte(c.value)
	binary.LittleEndian.PutUint32(out, binary.LittleEndian.Uint32(out)-revision2+revision3)
	return binary.LittleEndian.AppendUint32(out, uint32(root))
}
