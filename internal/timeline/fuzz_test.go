package timeline_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/felhom/felhom-golden/internal/timeline"
)

// FuzzSVG: a guest says what its steps were. Whatever it says, the picture is XML
// of the known elements, without a script, and of a bounded size.
func FuzzSVG(f *testing.F) {
	f.Add("app", "mount", "changed", "<script>alert(1)</script>", 0.0, 1500.0, 3000.0)
	f.Add("a\x00\x1b\u202e", "\"><x", "' onload='x", "]]>&amp;", -5.0, 1e300, 1e308)
	f.Add("", "", "", "\xff", 1e308, 1e308, 5e-324)
	f.Fuzz(func(t *testing.T, title, name, class, text string, start, length, end float64) {
		for _, n := range []*float64{&start, &length, &end} { // JSON has no others
			if math.IsNaN(*n) || math.IsInf(*n, 0) {
				*n = 0
			}
		}
		picture := timeline.SVG(timeline.Picture{
			Title: title, Subtitle: []string{text, class}, EndMS: end, Mark: &timeline.Mark{AtMS: length, Text: name},
			Bars: []timeline.Bar{{Name: name, Class: class, Text: text, StartMS: start, LengthMS: length}, {StartMS: start + length}},
		})
		if most := 64<<10 + 20*(len(title)+len(name)+len(class)+len(text)); len(picture) > most {
			t.Errorf("%d bytes, want at most %d", len(picture), most)
		}
		for _, bad := range []string{"NaN", "Inf"} {
			if bytes.Contains(picture, []byte(`="`+bad)) || bytes.Contains(picture, []byte(`="+`+bad)) || bytes.Contains(picture, []byte(`="-`+bad)) {
				t.Errorf("start %g, length %g, end %g: a place is %s", start, length, end, bad)
			}
		}
		for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("not XML: %v\n%s", err, picture)
			}
			if element, ok := token.(xml.StartElement); ok {
				checkElement(t, element)
			}
		}
	})
}

var elements = map[string]bool{"svg": true, "style": true, "rect": true, "text": true, "line": true, "g": true, "title": true, "path": true}

func checkElement(t *testing.T, element xml.StartElement) {
	t.Helper()
	if !elements[element.Name.Local] {
		t.Errorf("element %q", element.Name.Local)
	}
	for _, a := range element.Attr {
		if len(a.Name.Local) > 2 && a.Name.Local[:2] == "on" || a.Name.Local == "href" {
			t.Errorf("attribute %q of %q", a.Name.Local, element.Name.Local)
		}
	}
}
