package listener

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzListening: the kernel's table names a socket by a number of its own, and an
// address that is read is written as it was.
func FuzzListening(f *testing.F) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	for _, s := range []string{
		head + "   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0\n",
		head + "   0: 00000000:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1\n",
		head + "   0: 00000000000000000000000000000000:20FB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1\n",
		head + "   0: 0000000000000000FFFF00000100007F:20FB 0:0 0A 0:0 0:0 0 0 0 77 1\n", "0: 0100007F:20FB 0:0 01 0:0 0:0 0 0 0 1\n", "0: 7F:20FB 0:0 0A 0:0 0:0 0 0 0 1\n", "0: x:20FB 0:0 0A 0:0 0:0 0 0 0 1\n", "\x00",
	} {
		f.Add(s)
	}
	at := netip.MustParseAddrPort("127.0.0.1:8443") // port 0x20FB
	f.Fuzz(func(t *testing.T, table string) {
		if inode := listening(strings.NewReader(table), at); inode != "" && (!slices.Contains(strings.Fields(table), inode) || !strings.Contains(table, ":20")) {
			t.Errorf("%q has the socket %q", table, inode)
		}
		for word := range strings.FieldsSeq(table) {
			text, _, _ := strings.Cut(word, ":")
			addr, ok := parseKernelAddr(text)
			if !ok {
				continue
			}
			if got := kernelAddr(addr, len(text) == 32); !strings.EqualFold(got, text) && !strings.EqualFold(got, strings.Replace(text, "0000FFFF", "FFFF0000", 1)) {
				t.Errorf("%q is %s, which is written as %q", text, addr, got)
			}
		}
	})
}

// kernelAddr writes an address as /proc/net/tcp does, or as tcp6 does.
func kernelAddr(a netip.Addr, isLong bool) string {
	b := a.AsSlice()
	if isLong {
		long := a.As16()
		b = long[:]
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

func TestListeningTakesTimeThatGrowsWithTheTable(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:8443")
	fuzztest.Long(t, "", func(text string) { listening(strings.NewReader(text), at) }, fmt.Sprintf("0: %s:20FA 0:0 0A 0:0 0:0 0 0 0 1\n", kernelAddr(at.Addr(), false)), "\n", ": ")
}
