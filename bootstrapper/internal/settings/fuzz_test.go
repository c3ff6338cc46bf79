package settings

import (
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// FuzzRender: a template is refused with its name and without a value, or gives a YAML
// mapping within the limit; its memory is bounded.
func FuzzRender(f *testing.F) {
	for _, s := range []string{
		BuiltIn(), "a: {{quote .Token}}\nb: {{list .PinsSPKI}}\n", `{{range 400000000}}a: b{{end}}`, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `a: {{printf "%*d" 9 .GuestID}}`, `{{$x := "a"}}{{range 30}}{{$x = print $x $x}}{{end}}`,
		"a: {{.Token}}: {{.Nope}}", "a: &a [*a]", "a: {{index .PinsSPKI 9}}", "a: {{slice .Token 1 3}}", "{{.Token.X}}", "a: {{call .Token}}", "a: {{.Token | eq 1}}", "{{/* x */ -}} a: b", "a: !!int {{.Token}}", "a: {{len .Token | printf \"%999d\"}}", "{{break}}", "{{block \"a\" .}}a: b{{end}}",
		"a: {{index .PinsSPKI .Token}}", "a: {{html .}}", "a: {{.PinsSPKI}}", "*{{.Token}}", "!{{.Token}} a: b", "&{{.Token}} a: b\n*x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := sample()
		v.Token = "fgt_8200_s3cr3ts3cr3t"
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		data, err := Render("/t.tmpl", text, v)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 512<<20 {
			t.Errorf("%q: %d MiB were allocated", text, used>>20)
		}
		if err != nil {
			if data != nil || !strings.HasPrefix(err.Error(), "/t.tmpl") || strings.Contains(err.Error(), "s3cr3ts3cr3t") {
				t.Errorf("%q gives %d bytes and the error %v", text, len(data), err)
			}
			return
		}
		var m map[string]yaml.Node
		if err := yaml.Unmarshal(data, &m); len(data) > MaxOutput || err != nil && !strings.Contains(err.Error(), "already defined") && !strings.Contains(err.Error(), "cannot unmarshal") && !strings.Contains(err.Error(), "map merge") {
			t.Errorf("%q gives %q, which is not a mapping: %v", text, data, err)
		}
	})
}
