package lxc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/termtext"
	"github.com/felhom/felhom-golden/internal/unpack"
)

// FuzzSubIDs: ids that a file gives to root are within those that there are, and those
// of another user are not root's.
func FuzzSubIDs(f *testing.F) {
	for _, s := range []string{"root:100000:65536\nfelhom:165536:65536\n", "root:0:4294967296\n", "0:100000:65536\n", "root:-1:5\n", "root:9223372036854775807:9223372036854775807\n", "root:1\n", "root:x:y\n#\n", "root:100000:65536:x\n"} {
		f.Add(s)
	}
	file := filepath.Join(f.TempDir(), "subuid")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := subIDs(file, isRoot)
		if err != nil && len(text) < 32<<10 {
			t.Fatal(err)
		}
		for _, r := range list {
			if r.first < 0 || r.count < 1 || r.first+r.count < r.first || r.first > 1<<32 {
				t.Errorf("%q gives %+v", text, r)
			}
		}
		if list.covers(unpack.Range{Host: 100000, Count: 65536}) && !strings.Contains(text, "root:") && !strings.Contains(text, "0:") {
			t.Errorf("%q gives root ids", text)
		}
	})
}

// FuzzComplaints: what liblxc wrote is shown in a few bounded lines that harm no terminal.
func FuzzComplaints(f *testing.F) {
	for _, s := range []string{
		"lxc-start 8200 20261126073938.105 ERROR    start - ../src/lxc/start.c:lxc_spawn:1876 - Failed to setup legacy cgroups\nlxc-start 8200 20261126073938.106 WARN     x - y\n",
		strings.Repeat("a ERROR b\n", 20), " ERROR \x1b[2J\u202e", " ERROR " + strings.Repeat("x", 100_000), " ERROR \n", "\x00",
	} {
		f.Add([]byte(s))
	}
	d := New(Options{Path: f.TempDir()})
	if err := os.Mkdir(d.dir(8200), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		if err := os.WriteFile(filepath.Join(d.dir(8200), logFile), log, 0o600); err != nil {
			t.Fatal(err)
		}
		got := d.complaints(8200)
		if strings.Count(got, "\n") > maxComplaints || len(got) > maxComplaints*(4*maxComplaint+20) || strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && !termtext.IsSafe(r) }) {
			t.Errorf("%q is shown as %q", log, got)
		}
	})
}
