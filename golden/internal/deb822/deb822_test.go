package deb822_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/deb822"
)

func ExampleParagraphs() {
	const sources = "# main\nTypes: deb\nURIs: https://a.example\n https://b.example\n\nTypes: deb-src\n"
	for p := range deb822.Paragraphs(sources) {
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
		if d := cmp.Diff(c.want, slices.Collect(deb822.Paragraphs(c.text))); d != "" {
			t.Errorf("%s: want -, got +:\n%s", c.name, d)
		}
	}
}
