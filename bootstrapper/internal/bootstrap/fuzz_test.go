package bootstrap

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzMemory: what the last run left is known as a whole or not at all, and is written
// so that the next run knows the same.
func FuzzMemory(f *testing.F) {
	for _, s := range []string{
		`{"version":1,"container":"c","image":{"reference":"a.example/b:1","id":"sha256:c"},"settings":"x","before":{},"old":[{"id":"sha256:d"}],"refused":{}}`, `{"version":2}`, `{"version":1,"container":5}`, `null`, "", `{"version":1}x`, `{"version":1,"old":[null]}`,
	} {
		f.Add([]byte(s))
	}
	file := filepath.Join(f.TempDir(), "memory.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m := recall(file)
		if none := jsonOf(t, memory{}); m.Version == 0 && jsonOf(t, m) != none || m.Version != 0 && m.Version != memoryVersion {
			t.Errorf("%q is known as %+v", data, m)
		}
		if err := m.save(); err != nil {
			t.Fatal(err)
		}
		if again := recall(file); jsonOf(t, again) != jsonOf(t, m) {
			t.Errorf("%q is %s, and after it was written %s", data, jsonOf(t, m), jsonOf(t, again))
		}
	})
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// FuzzGuestFiles: the guest's own network files and its map of ids are read without
// trust: an interface is a word of them, and a map that is not understood gives 0.
func FuzzGuestFiles(f *testing.F) {
	for _, s := range []string{"auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n", "iface eth0 inet6 auto\niface a inet dhcp x\n", "         0     100000      65536\n", "0 4294967295 1\n", "1 2 3\n0 x 1\n", "0 99999999999 1\n", "\x00", "iface \xff inet dhcp"} {
		f.Add(s)
	}
	root := f.TempDir()
	dir := filepath.Join(root, "etc/network")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(dir, "interfaces"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, name := range dhcpNames(root) {
			if !slices.Contains(strings.Fields(text), name) {
				t.Errorf("%q has the interface %q", text, name)
			}
		}
		if base := mappedRoot(text); base != 0 && !strings.Contains(text, "0") {
			t.Errorf("%q maps root to %d", text, base)
		}
	})
}

func TestGuestFilesTakeTimeThatGrowsWithTheirLength(t *testing.T) {
	fuzztest.Long(t, "", func(text string) { mappedRoot(text) }, "1 2 3\n", "\n", "0 ", "x")
}
