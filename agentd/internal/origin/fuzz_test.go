package origin

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// attribute is one of a message of the kernel, in its layout.
func attribute(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// neighborMessage is a message of a neighbour, in the kernel's layout.
func neighborMessage(kind uint16, family byte, index uint32, state uint16, attributes ...[]byte) []byte {
	body := append([]byte{family, 0, 0, 0}, binary.NativeEndian.AppendUint32(nil, index)...)
	body = append(binary.NativeEndian.AppendUint16(body, state), 0, 0)
	for _, a := range attributes {
		body = append(body, a...)
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(append(b, make([]byte, 10)...), body...)
}

// FuzzChange: no message ends the program; one that is not understood has everything
// read again, and a neighbour that is understood has an interface.
func FuzzChange(f *testing.F) {
	mac := attribute(unix.NDA_LLADDR, 0xbc, 0x24, 0x11, 0, 0, 1)
	for _, m := range [][]byte{
		neighborMessage(unix.RTM_NEWNEIGH, unix.AF_INET, 3, unix.NUD_REACHABLE, attribute(unix.NDA_DST, 192, 0, 2, 10), mac, attribute(unix.NDA_CACHEINFO, make([]byte, 16)...)),
		neighborMessage(unix.RTM_DELNEIGH, unix.AF_INET, 3, unix.NUD_FAILED, attribute(unix.NDA_DST, 192, 0, 2, 10)),
		neighborMessage(unix.RTM_NEWNEIGH, unix.AF_BRIDGE, 7, unix.NUD_REACHABLE, mac, attribute(unix.NDA_MASTER, 3, 0, 0, 0), attribute(unix.NDA_VLAN, 10, 0)),
		neighborMessage(unix.RTM_NEWNEIGH, unix.AF_BRIDGE, 7, unix.NUD_REACHABLE, attribute(unix.NDA_MASTER), attribute(unix.NDA_VLAN)),
		neighborMessage(unix.RTM_NEWNEIGH, unix.AF_INET6, 3, unix.NUD_STALE, attribute(unix.NDA_DST, make([]byte, 16)...), attribute(unix.NDA_LLADDR, make([]byte, 4)...)),
		neighborMessage(unix.RTM_NEWNEIGH, unix.AF_INET, 3, 0, attribute(unix.NDA_CACHEINFO, 1)), neighborMessage(unix.RTM_NEWLINK, 0, 1, 0),
		{1, 2, 3},
		{},
	} {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, err := syscall.ParseNetlinkMessage(data)
		if err != nil {
			return
		}
		for _, m := range messages {
			c, ok := changeOf(m)
			isEmpty := c == change{}
			if !ok || isEmpty {
				continue
			}
			if c.neighbor != (neighbor{}) && (c.station != (station{}) || c.neighbor.link == 0 || c.neighbor.addr == (netip.Addr{})) || c.station != (station{}) && c.station.bridge == 0 {
				t.Errorf("%x is %+v", data, c)
			}
		}
	})
}
