package overlay_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
)

// FuzzLay: whatever the names and links of a root and of what is laid over it, nothing
// outside of the root changes, and what is laid is there.
func FuzzLay(f *testing.F) {
	for _, s := range [][3]string{
		{"etc/a", "x", ""}, {"../a", "x", ""}, {"/etc/a", "x", ""}, {"etc/link/a", "x", "../../outside"}, {"etc/link/a", "x", "/"}, {"etc/link", "x", "/outside"}, {"etc/./a", "", ""}, {"etc/a/", "x", ""}, {"", "x", ""}, {".", "x", ""}, {"etc/\xff\n", "x", ""}, {"etc/link/link/a", "x", "link"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	above := f.TempDir()
	root, outside := filepath.Join(above, "root"), filepath.Join(above, "outside")
	if err := os.WriteFile(outside, []byte("kept"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, content, link string) {
		if len(name) > 1000 || len(link) > 1000 {
			t.Skip("longer than a path")
		}
		if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(root) }()
		if link != "" && os.Symlink(link, filepath.Join(root, "etc/link")) != nil {
			t.Skip("not the target of a link")
		}
		files := []overlay.File{
			{Path: name, Mode: 0o600, UID: os.Getuid(), GID: os.Getgid(), Data: []byte(content)},
			{Path: name + ".d", Mode: fs.ModeDir | 0o700, UID: os.Getuid(), GID: os.Getgid()},
			{Path: name + ".l", Mode: fs.ModeSymlink | 0o777, UID: os.Getuid(), GID: os.Getgid(), Link: "/outside"},
		}
		err := overlay.Lay(root, files, time.Unix(1760000000, 0))
		if kept, readErr := os.ReadFile(outside); readErr != nil || string(kept) != "kept" {
			t.Fatalf("%q and the link to %q change a file outside: %q, %v", name, link, kept, readErr)
		}
		if entries, readErr := os.ReadDir(above); readErr != nil || len(entries) != 2 {
			t.Fatalf("%q and the link to %q: outside of the root are %v, %v", name, link, entries, readErr)
		}
		if err != nil {
			return
		}
		r, err := os.OpenRoot(root)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }() // only read
		if got, err := r.ReadFile(name); err != nil || string(got) != content {
			t.Errorf("%q has %q, %v", name, got, err)
		}
	})
}
