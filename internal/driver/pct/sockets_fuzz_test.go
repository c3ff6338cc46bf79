package pct

import (
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fuzztest"
)

const socketsHead = "Num       RefCount Protocol Flags    Type St Inode Path\n"

// FuzzSockets: a guest runs if a line of the kernel's list names its monitor's socket. What
// is not such a list says nothing.
func FuzzSockets(f *testing.F) {
	const name = "@/var/lib/lxc/8200/command"
	for _, s := range []string{
		socketsHead + "00000000a1b2c3d4: 00000002 00000000 00010000 0001 01 24681 @/var/lib/lxc/8200/command\n", socketsHead + "0: 2 0 0 1 01 1 @/var/lib/lxc/82001/command\n0: 2 0 0 1 01 1\n", socketsHead + "0: 2 0 0 1 01 1 /run/a b @/var/lib/lxc/8200/command\n",
		socketsHead, "", "Num\n", "Num Path\n0 " + name, socketsHead + strings.Repeat("x", maxSocketLine+1), socketsHead + "0: 2 0 0 1 01 1 " + name + "\n" + strings.Repeat("x", maxSocketLine+1),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		state, ok := listens(strings.NewReader(list), name)
		head, rest, _ := strings.Cut(list, "\n")
		switch {
		case !ok && state != "":
			t.Errorf("%q is not understood, and is %q", list, state)
		case !ok && strings.HasPrefix(list, socketsHead) && len(list) < maxSocketLine:
			t.Errorf("%q is not understood", list)
		case ok && !strings.HasPrefix(head, "Num "):
			t.Errorf("%q is %q", list, state)
		case ok && (state == driver.Running) != slices.ContainsFunc(strings.Split(rest, "\n"), func(line string) bool {
			words := strings.Fields(line)
			return len(words) == 8 && words[7] == name
		}):
			t.Errorf("%q is %q", list, state)
		}
	})
}

func TestSocketsTakeTimeThatGrowsWithTheirNumber(t *testing.T) {
	fuzztest.Long(t, socketsHead, func(text string) { listens(strings.NewReader(text), "@/a") }, "0: 2 0 0 1 01 1 @/a\n", "\n", "a \n")
}
