package contents_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func sample(t testing.TB) *contents.Sample {
	t.Helper()
	var s contents.Sample
	for path, text := range map[string]string{
		"usr/lib/os-release":                    "ID=debian\nVERSION_ID=\"13\"\n",
		"var/lib/dpkg/status":                   "Package: base\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n",
		"usr/lib/systemd/system/off.service":    "[Install]\n",
		"opt/a/b/c/large":                       "not sampled",
		"etc/systemd/system/empty.service":      "",
		"usr/lib/felhom/images/index.json":      "{",
		contents.Path:                           "an old table",
		"usr/lib/systemd/system/static.service": "[Service]\n",
	} {
		e := vzdump.Entry{Path: path, Type: vzdump.File, Size: int64(len(text))}
		if err := s.Add(&e, func() ([]byte, error) { return []byte(text), nil }); err != nil {
			t.Fatal(err)
		}
	}
	return &s
}

func TestEncodeAndParse(t *testing.T) {
	want := sample(t).Contents()
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := contents.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-encoded +parsed:\n%s", d)
	}
	if n := got.Entries["file"]; n != 7 || len(got.Units) != 3 || len(got.Packages) != 1 || got.OS.ID != "debian" || len(got.Problems) != 1 {
		t.Errorf("got %+v", got)
	}
	if texts := got.Differences(want); len(texts) > 0 {
		t.Errorf("want no differences, got %q", texts)
	}
}

// An empty image has lists, not null, in its table.
func TestEmpty(t *testing.T) {
	var s contents.Sample
	data, err := s.Contents().Encode()
	if err != nil || strings.Contains(string(data), "null") {
		t.Errorf("got %s, %v", data, err)
	}
}

func TestTooLarge(t *testing.T) {
	c := contents.Contents{Packages: []image.Package{{Name: strings.Repeat("x", contents.MaxBytes)}}}
	if _, err := c.Encode(); err == nil {
		t.Error("want an error, got none")
	}
}

// A value of two bytes takes a hundred in memory: a table that no image
// has is refused before it is decoded.
func TestParseRefusesManyValues(t *testing.T) {
	for _, list := range []string{"packages", "units", "images", "directories", "problems"} {
		for _, value := range []string{"{}", "null", `""`, "[]"} {
			text := `{"version":1,"content_bytes":1e999,"` + list + `":[` + strings.Repeat(value+",", contents.MaxBytes/32) + value + `]}`
			if _, err := contents.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "exceed the limit of 32768 values") {
				t.Errorf("%s of %s: want too many values, got %v", list, value, err)
			}
		}
	}
	var short contents.Contents // of the shortest values
	for i := range 25_000 {
		short.Units = append(short.Units, image.State{Name: fmt.Sprint(i), State: "alias"})
	}
	data, err := short.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contents.Parse(data); err != nil || len(got.Units) != len(short.Units) {
		t.Errorf("want %d units, got %d, %v", len(short.Units), len(got.Units), err)
	}
}

// FuzzParse holds a parsed table to what its reader relies on: it can be written and
// read again, and its sums cannot overflow.
func FuzzParse(f *testing.F) {
	data, err := sample(f).Contents().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"entries":{"file":500001}}`))
	f.Add([]byte(`{"version":1,"content_bytes":9223372036854775807}`))
	f.Add([]byte(`{"version":1}{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := contents.Parse(data)
		if err != nil {
			return
		}
		if c.Least() < 0 {
			t.Errorf("least %d", c.Least())
		}
		again, err := c.Encode()
		if err != nil {
			return // larger than what was read
		}
		if _, err := contents.Parse(again); err != nil {
			t.Errorf("written table: %v", err)
		}
	})
}

func ExampleSample() {
	var s contents.Sample
	file := vzdump.Entry{Path: "usr/lib/os-release", Type: vzdump.File, Size: 10}
	err := s.Add(&file, func() ([]byte, error) { return []byte("ID=debian\n"), nil })
	fmt.Println(s.Contents().OS.ID, err)
	// Output: debian <nil>
}
