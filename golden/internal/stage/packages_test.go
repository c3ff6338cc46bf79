package stage

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestPackageCounter reads what mmdebstrap --verbose wrote for trixie, cut to
// some packages, in pieces of every size.
func TestPackageCounter(t *testing.T) {
	data, err := os.ReadFile("testdata/mmdebstrap.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"downloaded 0 of 3 packages", "downloaded 1 of 3 packages", "downloaded 2 of 3 packages", "downloaded 3 of 3 packages",
		"unpacked 1 of 3 packages", "unpacked 2 of 3 packages", "unpacked 3 of 3 packages", "installed 1 of 3 packages", "installed 2 of 3 packages", "installed 3 of 3 packages",
		"downloaded 3 of 5 packages", "downloaded 4 of 5 packages", "downloaded 5 of 5 packages",
		"unpacked 4 of 5 packages", "unpacked 5 of 5 packages", "installed 4 of 5 packages", "installed 5 of 5 packages",
	}
	for _, size := range []int{1, 7, 64, len(data)} {
		var got []string
		c := newPackageCounter(func(state string, done, total int) {
			if text := PackagesText(state, done, total); len(got) == 0 || got[len(got)-1] != text {
				got = append(got, text)
			}
		})
		for part := range slices.Chunk(data, size) {
			if n, err := c.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d bytes: got\n%s\nwant\n%s", size, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestPackageCounterOfOddOutput: what a maintainer script writes does not count
// past all, and a line without end takes no memory.
func TestPackageCounterOfOddOutput(t *testing.T) {
	most, total := 0, 0
	c := newPackageCounter(func(_ string, done, all int) { most, total = max(most, done), all })
	for _, text := range []string{
		"Setting up before-any-list (1) ...\n", "0 upgraded, 99999999999999999999 newly installed, 0 to remove\n", "  Upgrading: 0, Installing: 2, Removing: 0\n",
		"Get:1 a\nGet:2 b\nGet:3 c\n", "Setting up a (1) ...\nSetting up a (1) ...\nSetting up b (1) ...\nSetting up c (1) ...\n", "0 upgraded, 0 newly installed, 0 to remove\n",
		strings.Repeat("x", 1<<20),
	} {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if most != 2 || total != 2 {
		t.Errorf("%d of %d, want 2 of 2", most, total)
	}
	if len(c.line) > 1<<20 || cap(c.line) > 2<<20 {
		t.Errorf("%d bytes of a line are kept", cap(c.line))
	}
}
