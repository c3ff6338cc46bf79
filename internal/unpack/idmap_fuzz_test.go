package unpack

import (
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// FuzzIDMap: a map that is taken gives each id of the guest an id of this machine that
// no other one has, and a map that is refused maps nothing.
func FuzzIDMap(f *testing.F) {
	for _, s := range []string{"b:0:100000:65536", "u:0:100000:65536 g:0:200000:65536", "b:0:100000:1000 b:1000:1000:1 b:1001:101001:64535", "u:0:1:65536", "b:0:100000:65535", "b:0:0:65536 b:0:0:1", "b:-1:0:65537", "b:0:4294901760:65536", "b:0:100000:1 b:1:100000:65535", "x:0:0:0", "b:0:100000", "", "b:0:+0100000:65536"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		specs := strings.Fields(text)
		if len(specs) > 50 {
			t.Skip("each takes a loop over the ids")
		}
		m, err := ParseIDMap(specs)
		if err != nil {
			if !m.empty() || fault.HintOf(err) == "" {
				t.Errorf("%q gives %+v and the error %v", text, m, err)
			}
			return
		}
		if m.empty() {
			return
		}
		for _, ranges := range [][]Range{m.UIDs, m.GIDs} {
			var hosts []int
			for id := range vzdump.MaxID + 1 {
				hosts = append(hosts, mapID(ranges, id))
			}
			slices.Sort(hosts)
			if n := len(slices.Compact(slices.Clone(hosts))); n != len(hosts) || hosts[0] < 0 || hosts[n-1] > 1<<32-2 {
				t.Fatalf("%q maps %d ids to %d, from %d to %d", text, len(hosts), n, hosts[0], hosts[len(hosts)-1])
			}
		}
	})
}
