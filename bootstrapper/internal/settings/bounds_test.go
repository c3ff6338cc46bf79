package settings

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestTemplateIsBounded guards against templates that take the guest's memory or
// its processor: "{{range 400000000}}…" took 4.3 GB.
func TestTemplateIsBounded(t *testing.T) {
	double := `{{$x := "aaaaaaaaaaaaaaaa"}}{{range 60}}{{$x = `
	for name, text := range map[string]string{
		"range that writes":        `{{range 400000000}}a: b{{end}}`,
		"range that writes none":   `{{range 400000000000}}{{end}}`,
		"ranges in ranges":         `{{range 99999}}{{range 99999}}{{range 99999}}{{end}}{{end}}{{end}}`,
		"range in if and with":     `{{if true}}{{with 1}}{{range 99999999999}}{{end}}{{end}}{{end}}`,
		"range in else":            `{{range 0}}{{else}}{{range 99999999999}}{{end}}{{end}}`,
		"range with continue":      `{{range 99999999999}}{{continue}}{{end}}`,
		"range in a template":      `{{define "a"}}{{range 99999999999}}{{end}}{{end}}{{template "a"}}`,
		"templates that double":    `{{define "a"}}{{template "b"}}{{template "b"}}{{end}}{{define "b"}}{{if true}}{{template "a"}}{{template "a"}}{{end}}{{end}}{{template "a"}}`,
		"block that calls itself":  `{{block "a" 1}}{{template "a" .}}{{template "a" .}}{{end}}`,
		"itself in ranges":         `{{define "a"}}{{range 1}}{{template "a" .}}{{end}}{{end}}{{template "a"}}`,
		"many ranges deep":         strings.Repeat(`{{range 1}}`, 9000) + `{{index "" 1}}` + strings.Repeat(`{{end}}`, 9000),
		"ranges deep, by template": `{{define "a"}}` + strings.Repeat(`{{range 1}}`, 40) + strings.Repeat(`{{end}}`, 40) + `{{end}}` + strings.Repeat(`{{range 1}}`, 40) + `{{template "a"}}` + strings.Repeat(`{{end}}`, 40),
		"text that doubles":        double + `printf "%s%s" $x $x}}{{end}}`,
		"text that doubles, print": double + `print $x $x}}{{end}}`,
		"text that doubles, js":    `{{$x := "\\"}}{{range 60}}{{$x = js $x}}{{end}}`,
		"text that doubles, quote": `{{$x := "\\"}}{{range 60}}{{$x = quote $x}}{{end}}`,
		"text that doubles, html":  `{{$x := "&"}}{{range 60}}{{$x = html $x $x}}{{end}}`,
		"text that doubles, url":   `{{$x := "%"}}{{range 60}}{{$x = urlquery $x $x}}{{end}}`,
		"large width":              `{{printf "%99999999d" 1}}`,
		"large precision":          `{{printf "%.99999999f" 1.0}}`,
		"width of an argument":     `{{printf "%*d" 99999999 1}}`,
		"width of an index":        `{{printf "%[2]*[1]d" 1 99999999}}`,
		"many arguments used":      `{{$x := printf "%999d" 1}}{{$y := printf "` + strings.Repeat("%[1]s", 500) + `" $x}}{{printf "` + strings.Repeat("%[1]s", 9000) + `" $y}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := Render("t", text, sample())
			runtime.ReadMemStats(&after)
			if err == nil || !strings.HasPrefix(err.Error(), "t:") {
				t.Errorf("error is %v, want one with its place", err)
			}
			if err != nil && !strings.Contains(err.Error(), "exceed") && !strings.Contains(err.Error(), "digits") && !strings.Contains(err.Error(), "calls itself") {
				t.Errorf("error is %v, want one about a limit", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestTemplateWithinTheBounds(t *testing.T) {
	for text, want := range map[string]string{
		`a: {{range $i, $p := .PinsSPKI}}{{printf "%d-%s" $i $p | quote}}{{end}}`: `a: "0-sha256//uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM="`,
		`a: {{range 3}}{{.}}{{end}}`:                `a: 012`,
		`a: {{printf "%05d" 7}}{{print 1 2}}`:       `a: 000071 2`,
		`a: b{{html "<"}}{{urlquery "/"}}`:          `a: b&lt;%2F`,
		`{{define "x"}}b{{end}}a: {{template "x"}}`: `a: b`,
	} {
		if got, err := Render("t", text, sample()); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
}
