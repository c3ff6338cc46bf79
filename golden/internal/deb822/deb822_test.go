package deb822_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/deb822"
	"github.com/felhom/felhom-golden/internal/fuzztest"
)

func ExampleParagraphs() {
	const sources = "# main\nTypes: deb\nURIs: https://a.example\n https://b.example\n\nTypes: deb-src\n"
	for p := range deb822.Paragraphs(sources, "types", "uris") {
		fmt.Printf("%q %q\n", p["types"], p["uris"])
	}
	// Output:
	// "deb" "https://a.example\nhttps://b.example"
	// "deb-src" ""
}

func TestParagraphs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []deb822.Paragraph
	}{
		{"empty", "", nil},
		{"blank lines alone", "\n \n\n", nil},
		{"no newline at the end", "A: b", []deb822.Paragraph{{"a": "b"}}},
		{"carriage returns", "A: b\r\n\r\nA: c\r\n", []deb822.Paragraph{{"a": "b"}, {"a": "c"}}},
		{"a field twice", "A: b\na: c\n", []deb822.Paragraph{{"a": "c"}}},
		{"continued before any field", " x\nA: b\n", []deb822.Paragraph{{"a": "b"}}},
		{"a comment in a value", "A: b\n# x\n c\n", []deb822.Paragraph{{"a": "b\nc"}}},
		{"not a field", "nonsense\nA: b:c\n", []deb822.Paragraph{{"a": "b:c"}}},
	} {
		if d := cmp.Diff(c.want, slices.Collect(deb822.Paragraphs(c.text, "a"))); d != "" {
			t.Errorf("%s: want -, got +:\n%s", c.name, d)
		}
	}
}

// The text of a status file in an archive from outside has up to 8 MiB.
func TestLongTexts(t *testing.T) {
	fuzztest.Long(t, "A: b\n", func(text string) {
		for range deb822.Paragraphs(text, "a") {
			continue
		}
	})
}

// Fields that were not asked for are not kept, and do not hide a record.
func TestOtherFields(t *testing.T) {
	got := slices.Collect(deb822.Paragraphs("B: x\n y\nA: b\nC: z\n c\n\nD: e\n", "a"))
	if d := cmp.Diff([]deb822.Paragraph{{"a": "b"}, {}}, got); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
}

func FuzzParagraphs(f *testing.F) {
	for _, s := range []string{
		"Package: a\nStatus: install ok installed\nDescription: x\n y\n .\n z\n\nPackage: b\n", "Types: deb\nURIs: https://a.example\n https://b.example\n",
		"\r\n\r\nA: b\r\n", "# c\nA:\n\tb", " x\n:\n", "a\u2028: b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kept := 0
		for p := range deb822.Paragraphs(text, "a", "package", "uris") {
			for name, value := range p {
				if kept += len(value); !slices.Contains([]string{"a", "package", "uris"}, name) {
					t.Errorf("field %q, which was not asked for", name)
				}
				for i, line := range strings.Split(value, "\n") {
					if strings.TrimSpace(line) != line || i > 0 && line == "" {
						t.Errorf("field %q has the line %q of %q", name, line, value)
					}
				}
			}
		}
		if kept > len(text) {
			t.Errorf("%d bytes of values in a text of %d", kept, len(text))
		}
	})
}
