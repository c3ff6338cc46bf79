package pack_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/inspect"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/pack"
)

// withSystem adds to a root what a table of contents lists. Some of it has several
// names, or is brought by the overlay as well.
func withSystem(t *testing.T, src *pack.Source) {
	t.Helper()
	units := filepath.Join(src.Root, "usr/lib/systemd/system")
	for _, dir := range []string{units, filepath.Join(src.Root, "var/lib/dpkg"), filepath.Join(src.Root, "etc/systemd/system/multi-user.target.wants"), filepath.Join(src.Root, "etc/felhom")} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	for name, text := range map[string]string{
		"etc/felhom/contents.json": "of an older image", "usr/lib/os-release": "ID=debian\nPRETTY_NAME=\"Debian 13\"\n",
		"var/lib/dpkg/status":                "Package: base\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n",
		"usr/lib/systemd/system/on.service":  "[Install]\nWantedBy=multi-user.target\n",
		"usr/lib/systemd/system/off.service": "[Install]\nWantedBy=multi-user.target\n",
		"usr/lib/systemd/system/mid.service": "[Service]\nExecStart=/bin/true\n",
		"etc/systemd/system/boot.service":    "[Install]\n",
	} {
		must(t, os.WriteFile(filepath.Join(src.Root, name), []byte(text), 0o644))
	}
	must(t, os.Link(filepath.Join(units, "off.service"), filepath.Join(units, "twin.service")))
	must(t, os.Link(filepath.Join(src.Root, "usr/bin/perl"), filepath.Join(units, "odd.service")))
	must(t, os.Symlink("/usr/lib/systemd/system/on.service", filepath.Join(src.Root, "etc/systemd/system/multi-user.target.wants/on.service")))
	must(t, os.Symlink("/dev/null", filepath.Join(src.Root, "etc/systemd/system/mid.service")))
	must(t, os.Symlink("on.service", filepath.Join(units, "alias.service")))
	src.Overlay = append(src.Overlay,
		overlay.File{Path: "usr/lib/felhom/images/index.json", Mode: 0o644, Data: []byte(`{"images":[{"reference":"registry.example/app:1","config_digest":"sha256:` +
			"5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9" + `","file":"app.tar"}]}`)},
		overlay.File{Path: "usr/lib/felhom/images/app.tar", Mode: 0o644, Data: []byte("image")},
	)
}

// The table of contents says what reading all members says, also when the base
// comes from the cache and the overlay is another one.
func TestTableIsWhatTheMembersSay(t *testing.T) {
	src := source(makeRoot(t))
	withSystem(t, &src)
	cache := t.TempDir()
	for _, c := range []struct {
		name   string
		change func(*pack.Source)
		reused bool
	}{
		{name: "first", change: func(*pack.Source) {}},
		{name: "again", change: func(s *pack.Source) { s.Root = "/nonexistent" }, reused: true},
		{name: "another unit", change: func(s *pack.Source) { s.Overlay[1].Data = []byte("[Install]\nWantedBy=x.target\n") }, reused: true},
		{name: "another image", change: func(s *pack.Source) { s.Overlay[len(s.Overlay)-1].Data = make([]byte, 9000) }, reused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change(&src)
			out := output(t)
			out.CacheDir, out.CacheKey = cache, "k"
			res, data := packed(t, src, out)
			if res.BaseReused != c.reused {
				t.Errorf("base reused %v, want %v", res.BaseReused, c.reused)
			}
			table, err := inspect.Table(t.Context(), bytes.NewReader(data), int64(len(data)), out.Path)
			must(t, err)
			members, err := inspect.Archive(t.Context(), bytes.NewReader(data), out.Path, inspect.Options{})
			must(t, err)
			if table.Source != inspect.FromTable || members.Source != inspect.FromMembers || len(table.Units) < 6 || len(table.Packages) != 1 || len(table.Images) != 1 || len(table.Problems) > 0 {
				t.Errorf("table %+v", table)
			}
			table.Source = members.Source
			if d := cmp.Diff(members, table); d != "" {
				t.Errorf("-members +table:\n%s", d)
			}
		})
	}
}
