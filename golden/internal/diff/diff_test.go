package diff_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/diff"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/inspect"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func sample() inspect.Report {
	return inspect.Report{
		Packages: []image.Package{{Name: "base", Version: "1", Arch: "all"}},
		Units:    []image.State{{Name: "a.service", State: "enabled"}},
		Config:   map[string]string{"onboot": "1", "net0": "name=eth0,bridge=vmbr0", "memory": "512"},
		Files: []*image.Entry{
			{Path: ".", Type: vzdump.Dir, Mode: 0o755},
			{Path: "f", Type: vzdump.File, Mode: 0o644, Size: 1, Hashed: true, Digest: [32]byte{0xaa}},
			{Path: "s", Type: vzdump.Symlink, Mode: 0o777, Link: "f"},
		},
	}
}

func TestCompare(t *testing.T) {
	zeros := strings.Repeat("0", 62)
	for _, tt := range []struct {
		name string
		edit func(*inspect.Report)
		want string
	}{
		{"same", func(*inspect.Report) {}, ""},
		{"order of files", func(r *inspect.Report) { r.Files[1], r.Files[2] = r.Files[2], r.Files[1] }, ""},
		{"same configuration", func(r *inspect.Report) { r.Config["onboot"], r.Config["net0"] = "yes", "bridge=vmbr0,name=eth0" }, ""},
		{"mode of a symlink", func(r *inspect.Report) { r.Files[2].Mode = 0 }, ""},
		{"configuration", func(r *inspect.Report) { r.Config["memory"] = "1024" }, "~ config memory: 512 -> 1024\n"},
		{"key gone", func(r *inspect.Report) { delete(r.Config, "memory") }, "- config memory: 512\n"},
		{"package version", func(r *inspect.Report) { r.Packages[0].Version = "2" }, "~ package base:all: 1 -> 2\n"},
		{"package gone", func(r *inspect.Report) { r.Packages = nil }, "- package base:all: 1\n"},
		{"unit", func(r *inspect.Report) { r.Units[0].State = "masked" }, "~ unit a.service: enabled -> masked\n"},
		{"file gone", func(r *inspect.Report) { r.Files = r.Files[:2] }, "- file /s: symlink\n"},
		{"file added", func(r *inspect.Report) { r.Files = append(r.Files, &image.Entry{Path: "x\n", Type: vzdump.Dir}) }, "+ file /x\\n: directory\n"},
		{"mode", func(r *inspect.Report) { r.Files[1].Mode = 0o4755 }, "~ file /f mode: 0644 -> 4755\n"},
		{"mode of the root", func(r *inspect.Report) { r.Files[0].Mode = 0o700 }, "~ file / mode: 0755 -> 0700\n"},
		{"owner", func(r *inspect.Report) { r.Files[1].GID = 5 }, "~ file /f owner: 0:0 -> 0:5\n"},
		{"content", func(r *inspect.Report) { r.Files[1].Size, r.Files[1].Digest[0] = 2, 0xbb }, "~ file /f size: 1 -> 2\n~ file /f sha256: aa" + zeros + " -> bb" + zeros + "\n"},
		{"link", func(r *inspect.Report) { r.Files[2].Link = "g" }, "~ file /s link: f -> g\n"},
		{"type", func(r *inspect.Report) { r.Files[1].Type = vzdump.Fifo }, "~ file /f type: file -> fifo\n"},
		{"capability", func(r *inspect.Report) { r.Files[1].Extra = &image.Extra{Xattrs: map[string]string{"user.a": "01"}} }, "~ file /f xattrs:  -> user.a=01\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := sample()
			tt.edit(&b)
			report := diff.Compare(sample(), b)
			var text, data bytes.Buffer
			if err := report.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, text.String()); d != "" || report.Same != (tt.want == "") {
				t.Errorf("same %v; -want +got:\n%s", report.Same, d)
			}
			if err := report.WriteJSON(&data); err != nil || strings.Contains(data.String(), `"files": null`) {
				t.Errorf("JSON %s, %v; want lists", data.String(), err)
			}
		})
	}
}
