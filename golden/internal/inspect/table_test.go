package inspect_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/inspect"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	ownName  = "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst"
	ownTable = `{"version":1,"os":{"id":"debian","version_id":"13","codename":"trixie","pretty_name":"Debian 13"},"entries":{"file":2},"content_bytes":40,` +
		`"directories":[{"path":"/","bytes":40,"entries":2}],"images":[],"units":[{"name":"on.service","state":"enabled"}],` +
		`"packages":[{"name":"base","version":"1","arch":"all"}],"problems":[]}`
)

// own returns an archive in the form that pack writes: the members between the configuration and
// the table, the table unless it is empty, and one large file.
func own(t *testing.T, table string, between ...vzdump.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	f, err := vzdump.NewFrame(&b, vzdump.Fast, time.Unix(1700000000, 0), vzdump.NewMembers())
	if err != nil {
		t.Fatal(err)
	}
	add := func(e vzdump.Entry, data string) {
		e.Size = cmp.Or(e.Size, int64(len(data)))
		if err := f.Add(&e, strings.NewReader(cmp.Or(data, strings.Repeat("x", int(e.Size))))); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.AddConfig([]byte("arch: amd64\nhostname: golden\n")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{".", "etc", "etc/felhom"} {
		add(vzdump.Entry{Path: dir, Type: vzdump.Dir, Mode: 0o755}, "")
	}
	for _, e := range between {
		add(e, "")
	}
	if table != "" {
		add(vzdump.Entry{Path: contents.Path, Type: vzdump.File, Mode: 0o644}, table)
	}
	add(vzdump.Entry{Path: "large", Type: vzdump.File, Mode: 0o644, Size: 1 << 20}, "")
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readTable(ctx context.Context, data []byte) (inspect.Report, error) {
	return inspect.Table(ctx, bytes.NewReader(data), int64(len(data)), "x/"+ownName)
}

func TestTable(t *testing.T) {
	data := own(t, ownTable)
	got, err := readTable(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	want := inspect.Report{
		Archive: ownName, Source: inspect.FromTable, Packed: int64(len(data)), Content: 40, Entries: map[string]int{"file": 2},
		Config: map[string]string{"arch": "amd64", "hostname": "golden"}, // of the member, not of the table
	}
	for _, c := range [][2]any{
		{want.Archive, got.Archive},
		{want.Source, got.Source},
		{want.Packed, got.Packed},
		{want.Content, got.Content},
		{want.Entries, got.Entries},
		{want.Config, got.Config},
		{"Debian 13", got.OS.PrettyName},
		{1, len(got.Packages)},
		{1, len(got.Units)},
		{1, len(got.Directories)},
		{0, len(got.Images)},
	} {
		if d := gocmp.Diff(c[0], c[1]); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
}

// A table can hold any text: none of it reaches a terminal as it is.
func TestTableWithControlCharacters(t *testing.T) {
	const esc = `\u001b[2J`
	text := strings.NewReplacer("debian", esc, "trixie", esc, "on.service", esc, "enabled", esc, "base", esc, `"all"`, `"`+esc+`"`, `"path":"/"`, `"path":"`+esc+`"`,
		`"images":[]`, `"images":[{"reference":"`+esc+`","config_digest":"`+esc+`","file":"`+esc+`"}]`, `"problems":[]`, `"problems":["`+esc+`"]`).Replace(ownTable)
	report, err := readTable(t.Context(), own(t, text))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := report.WriteText(&b); err != nil || strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "[2J") {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// Whatever is unusual about a table leaves the report to the whole archive.
func TestTableIsNotUsed(t *testing.T) {
	good := own(t, ownTable)
	var many []vzdump.Entry
	for i := range 600 {
		many = append(many, vzdump.Entry{Path: "etc/a" + strings.Repeat("x", i%200) + string(rune('a'+i/200)), Type: vzdump.Symlink, Mode: 0o777, Link: "x"})
	}
	edit := func(old, text string) []byte {
		t.Helper()
		if !strings.Contains(ownTable, old) {
			t.Fatalf("the table has no %q", old)
		}
		return own(t, strings.Replace(ownTable, old, text, 1))
	}
	plain := archive(t, [2]string{"etc/vzdump/pct.conf", "arch: amd64\n"}, [2]string{contents.Path, ownTable})
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"no table", own(t, "")},
		{"a newer version", edit(`"version":1`, `"version":2`)},
		{"an unknown field", edit(`"version":1`, `"version":1,"more":1`)},
		{"no JSON", own(t, "{")},
		{"two values", own(t, ownTable+"{}")},
		{"a negative sum", edit(`"content_bytes":40`, `"content_bytes":-40`)},
		{"a negative count", edit(`"file":2`, `"file":-2`)},
		{"counts beyond any archive", edit(`"file":2`, `"file":9000000000000000000`)},
		{"a directory of more than all files", edit(`"bytes":40`, `"bytes":41`)},
		{"a directory of less than nothing", edit(`"bytes":40`, `"bytes":-1`)},
		{"a directory with fewer members than none", edit(`"entries":2}`, `"entries":-1}`)},
		{"a directory with more members than any archive", edit(`"entries":2}`, `"entries":9000000000000000000}`)},
		{"a kind that no member has", edit(`"file":2`, `"file":2,"\u001b[2J":1`)},
		{"more content than the frames hold", edit(`"content_bytes":40`, `"content_bytes":9000000`)},
		{"more members than the frames hold", edit(`"file":2`, `"file":90000`)},
		{"a table that is too large", own(t, ownTable+strings.Repeat(" ", contents.MaxBytes))},
		{"a link in its place", own(t, "", vzdump.Entry{Path: contents.Path, Type: vzdump.Symlink, Mode: 0o777, Link: "/etc/passwd"})},
		{"behind many members", own(t, ownTable, many...)},
		{"behind large files", own(t, ownTable, vzdump.Entry{Path: "etc/big", Type: vzdump.File, Mode: 0o644, Size: 9 << 20})},
		{"cut short", good[:len(good)-9]},
		{"cut at a frame", good[:0]},
		{"bytes after the end", append(slices.Clone(good), "junk"...)},
		{"no zstd", plain.Bytes()},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := readTable(t.Context(), c.data); !errors.Is(err, inspect.ErrNoTable) {
				t.Errorf("want ErrNoTable, got %+v, %v", got, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readTable(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("want canceled, got %v", err)
	}
}

// What a full read finds does not contain the table itself.
func TestArchiveLeavesTheTableOut(t *testing.T) {
	with, err := inspect.Archive(t.Context(), bytes.NewReader(own(t, ownTable)), ownName, inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	without, err := inspect.Archive(t.Context(), bytes.NewReader(own(t, "")), ownName, inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	with.Packed, without.Packed = 0, 0
	if d := gocmp.Diff(without, with); d != "" {
		t.Errorf("-without +with:\n%s", d)
	}
	if _, err := inspect.Archive(t.Context(), bytes.NewReader(own(t, ownTable)[:300]), ownName, inspect.Options{}); fault.Of(err) != fault.Invalid {
		t.Errorf("cut short: want kind invalid, got %v", err)
	}
}
