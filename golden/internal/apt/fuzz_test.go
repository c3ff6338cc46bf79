package apt

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// A file of sources in an archive from outside may have any content.
func TestLongTexts(t *testing.T) {
	for _, head := range []string{"", "deb ", "deb [", "deb a b "} {
		fuzztest.Long(t, head, func(text string) { Parse("etc/apt/sources.list", text) }, "\n", "[", "[[", "a]", "\"", "\"a b\"", "a[b] ", "a ", "a=b ", "#", "%20", "deb a b\n", "deb [")
	}
	// Words, and as many blanks after them.
	fuzztest.Long(t, "deb "+strings.Repeat("a ", 64<<10), func(text string) { Parse("etc/apt/sources.list", text) }, " ", "a", "\"")
	fuzztest.Long(t, "Types: deb\nURIs: a\n", func(text string) { Parse("etc/apt/sources.list.d/a.sources", text) })
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"deb http://mirror.example/debian trixie main contrib\ndeb-src https://a.example/ b c # d\n", "deb [signed-by=/usr/share/keyrings/a.gpg arch=amd64,arm64 trusted=yes] https://a.example trixie main\n",
		"deb [ trusted=\"yes\" ] \"https://a b\" x%20y [z z]\n", "deb [a=b", "Types: deb deb-src\nURIs: https://a.example https://b.example\nSuites: trixie trixie-updates\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n",
		"Types: deb\nEnabled: no\n\nTypes: deb\nURIs: x\nTrusted: 0x1\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range []string{"etc/apt/sources.list", "etc/apt/sources.list.d/a.sources"} {
			entries := Parse(name, text)
			if len(entries) > len(text) {
				t.Errorf("%d entries in a text of %d bytes", len(entries), len(text))
			}
			for _, e := range entries {
				if e.URI == "" || e.Embedded && e.SignedBy != "" {
					t.Errorf("entry %+v", e)
				}
				IsPrivate(e.URI)
				// What is written of it, is read as it was: as words, without blanks in them.
				if plain := append(append([]string{e.URI, e.SignedBy}, e.Suites...), e.Components...); slices.ContainsFunc(plain, func(s string) bool { return strings.ContainsFunc(s, unicode.IsSpace) || strings.HasPrefix(s, "#") }) {
					continue
				}
				again := Parse("etc/apt/sources.list.d/a.sources", string(Format([]Source{e.Source})))
				if len(again) != 1 {
					t.Fatalf("%+v is written and read as %+v", e, again)
				}
				got := again[0].Source
				if got.URI != e.URI || got.SignedBy != e.SignedBy || strings.Join(got.Suites, " ") != strings.Join(e.Suites, " ") || strings.Join(got.Components, " ") != strings.Join(e.Components, " ") {
					t.Errorf("%+v is written and read as %+v", e.Source, got)
				}
			}
		}
	})
}
