package docker

import (
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzReceived: the kernel's counters are a number of bytes, or an error: a sum that
// goes backwards would end a pull that moves.
func FuzzReceived(f *testing.F) {
	const head = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	for _, s := range []string{
		head + "    lo: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0\n  eth0: 5368709120 12 0 0 0 0 0 0 1 2 0 0 0 0 0 0\ndocker0: 7 1\nveth12ab: 9 1\n", head + "eth0:18446744073709551615 1\n", "eth0: 9223372036854775807 0\neth1: 9223372036854775807 0\n", "eth0: -1\n", "eth0:\n", ":", "a:b:1\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, table []byte) {
		sum, err := sumReceived(table)
		if sum < 0 || err != nil && sum != 0 {
			t.Errorf("%q: %d bytes, %v", table, sum, err)
		}
	})
}

func TestCountersTakeTimeThatGrowsWithTheirLength(t *testing.T) {
	fuzztest.Long(t, "", func(text string) { _, _ = sumReceived([]byte(text)) }, "eth0: 1 2\n", "a:", "\n", " ")
}
