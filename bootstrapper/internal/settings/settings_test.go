package settings

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func sample() Values {
	return Values{
		HubURL: "https://hub.example", HostID: "demo-felhom", GuestID: 8200, Endpoint: "https://192.0.2.1:8443",
		Token: "fgt_8200_example", PinsSPKI: []string{"sha256//uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM="},
	}
}

// TestDefaultIsTheDocumentedSchema holds docs/controller-yaml.md against the template.
func TestDefaultIsTheDocumentedSchema(t *testing.T) {
	page, err := os.ReadFile("../../../docs/controller-yaml.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the page has no yaml example")
	}
	data, err := Render(BuiltInName, BuiltIn(), sample())
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := yaml.Unmarshal([]byte(example), &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("documented and rendered differ (-doc +got):\n%s", diff)
	}
}

func TestQuoteKeepsAnyValue(t *testing.T) {
	for _, value := range []string{
		"", "plain", "yes", "0123", "~", "a: b", "- x", "#", `"`, `\`, "'", "{", "}", "%", "@", "`", "!tag", "&a", "*a",
		"line\nbreak", "tab\t", "\x00\x01\x7f", "űőé", "\u2028\u0085\ufeff", "😀", strings.Repeat("x", 500),
	} {
		var got map[string]string
		if err := yaml.Unmarshal([]byte("v: "+Quote(value)+"\n"), &got); err != nil || got["v"] != value {
			t.Errorf("Quote(%q) = %s reads as %q, %v", value, Quote(value), got["v"], err)
		}
	}
}

func FuzzQuote(f *testing.F) {
	seeds := []string{"a", "a\nb", "\\x", "\u0085", "\xff"}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var got map[string]string
		want := strings.ToValidUTF8(value, "\uFFFD")
		if err := yaml.Unmarshal([]byte("v: "+Quote(value)+"\n"), &got); err != nil || got["v"] != want {
			t.Errorf("Quote(%q) = %s reads as %q, %v", value, Quote(value), got["v"], err)
		}
	})
}

func TestErrorsNameTheTemplateAndNoValue(t *testing.T) {
	v := sample()
	v.Token = "*SECRETSECRET: [}"
	for _, test := range []struct{ name, text, want string }{
		{"unknown value", "a: b\nc: {{.Nope}}\n", "/x.tmpl:2:5: "},
		{"unknown function", "c: {{nope .Token}}\n", "/x.tmpl:1: "},
		{"unclosed action", "c: {{quote .Token\n", "/x.tmpl:2: unclosed action started at /x.tmpl:1"},
		{"unquoted secret", "a: b\nc: {{.Token}}\n", "/x.tmpl: the result is not YAML"},
		{"unquoted secret as anchor", "c: &{{.Token}}\n", "/x.tmpl: the result is not YAML"},
		{"a list", "- a\n", "/x.tmpl: the result is not a YAML mapping"},
		{"nothing", "", "/x.tmpl: the result is not a YAML mapping"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Render("/x.tmpl", test.text, v)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v, want it to begin with %q", err, test.want)
			}
			if got != nil || err != nil && strings.Contains(err.Error(), "SECRETSECRET") {
				t.Errorf("result %q, error %v", got, err)
			}
		})
	}
}
