package vzdump_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

func TestParseName(t *testing.T) {
	stamp := time.Date(2026, 2, 28, 23, 59, 9, 0, time.UTC)
	cases := []struct {
		base string
		want vzdump.Name
		ok   bool
	}{
		{"vzdump-lxc-9100-2026_02_28-23_59_09.tar.zst", vzdump.Name{VMID: 9100, Time: stamp, Ext: "zst"}, true},
		{"vzdump-lxc-999999999-2026_02_28-23_59_09.tar", vzdump.Name{VMID: 999999999, Time: stamp}, true},
		{"vzdump-lxc-99-2026_02_28-23_59_09.tar.zst", vzdump.Name{}, false},
		{"vzdump-lxc-0100-2026_02_28-23_59_09.tar.zst", vzdump.Name{}, false},
		{"vzdump-lxc-1000000000-2026_02_28-23_59_09.tar.zst", vzdump.Name{}, false},
		{"vzdump-lxc-9100-2026_02_29-23_59_09.tar.zst", vzdump.Name{}, false},
		{"vzdump-lxc-9100-2026_02_28-24_59_09.tar.zst", vzdump.Name{}, false},
		{"vzdump-lxc-9100-2026_02_28-23_59_09.tar.xz", vzdump.Name{}, false},
		{"vzdump-qemu-9100-2026_02_28-23_59_09.tar.zst", vzdump.Name{}, false},
		{"dir/vzdump-lxc-9100-2026_02_28-23_59_09.tar.zst", vzdump.Name{}, false},
		{"vzdump-lxc-9100-2026_02_28-23_59_09.tar.zst\n", vzdump.Name{}, false},
	}
	for _, c := range cases {
		t.Run(c.base, func(t *testing.T) {
			got, err := vzdump.ParseName(c.base)
			if (err == nil) != c.ok {
				t.Fatalf("error %v, want ok %v", err, c.ok)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if c.ok && got.String() != c.base {
				t.Errorf("printed %s", got)
			}
		})
	}
}

func TestComparePaths(t *testing.T) {
	want := strings.Fields(". a a/b a/b/c a/b-c a-b a.b ab b é")
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, vzdump.ComparePaths)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
