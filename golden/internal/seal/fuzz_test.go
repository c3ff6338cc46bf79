package seal

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzHosts: of a hosts file the lines of loopback and multicast addresses stay, with
// Debian's names alone, and once more changes nothing.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"127.0.0.1\tlocalhost\n127.0.1.1\tbuild.example build\n192.0.2.1 registry.example\n", "::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nfe00::0 ip6-localnet\n", "127.0.0.1 localhost # build\n", "127.0.0.1\n", "\x00", "127.0.0.1 build localhost", "::1%eth0 localhost\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := neutralHosts(text)
		if again := neutralHosts(got); again != got {
			t.Errorf("%q becomes %q, then %q", text, got, again)
		}
		for line := range strings.Lines(got) {
			words := strings.Fields(line)
			addr, err := netip.ParseAddr(words[0])
			if err != nil || !addr.IsLoopback() && !addr.IsMulticast() && words[0] != "fe00::0" {
				t.Errorf("%q keeps %q", text, line)
			}
			for _, name := range words[1:] {
				if !strings.HasPrefix(name, "localhost") && !strings.HasPrefix(name, "ip6-") {
					t.Errorf("%q keeps the name %q", text, name)
				}
			}
		}
	})
}

func TestHostsTakeTimeThatGrowsWithTheirLength(t *testing.T) {
	fuzztest.Long(t, "", func(text string) { neutralHosts(text) })
}
