// Package settings makes controller.yaml: the values that a template can use,
// the built-in template, and the check that the result is YAML. Call [Render].
// It opens no file.
//
// The default schema and the template language are in docs/controller-yaml.md.
package settings

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

// Values is what a template can use. Strings are raw: a template quotes them
// with the function "quote".
type Values struct {
	HubURL       string
	HostID       string
	GuestID      int      // 0 if the host did not set it
	Endpoint     string   // "https://192.0.2.1:8443"
	Token        string   // bearer token for Endpoint; a secret
	PinsSPKI     []string // "sha256//…"
	PinsLeaf     []string // upper-case hex with colons
	PinnedPubkey string   // PinsSPKI joined for curl's --pinnedpubkey
	Image        string   // the controller's own image
}

//go:embed controller.yaml.tmpl
var builtIn string

// BuiltInName is the name of the built-in template in errors.
const BuiltInName = "built-in controller.yaml.tmpl"

// BuiltIn returns the template that is used if no file replaces it.
func BuiltIn() string { return builtIn }

// Render returns the content of controller.yaml. name is the template's name in
// errors, its path. Errors name template and line and hold no value.
func Render(name, text string, v Values) ([]byte, error) {
	var out strings.Builder
	b := &bounds{out: &out}
	t, err := template.New(name).Option("missingkey=error").Funcs(b.funcs()).Parse(text)
	if err != nil {
		return nil, cleanTemplateError(err)
	}
	if err := bound(t); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := t.Execute(b, v); errors.Is(err, errRounds) {
		return nil, fmt.Errorf("%s: %w", name, errRounds)
	} else if err != nil {
		return nil, cleanTemplateError(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(out.String()), &doc); err != nil {
		return nil, fmt.Errorf("%s: the result is not YAML: %s; quote every value: {{quote .Token}}", name, withoutValues(err))
	}
	if doc.Kind == 0 || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: the result is not a YAML mapping (key: value lines)", name)
	}
	return []byte(out.String()), nil
}

func cleanTemplateError(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "template: "))
}

// withoutValues returns the text of an error of YAML's syntax with its line and kind
// only. The parser quotes scalars, anchors and tags, and a secret may be or look like
// one.
func withoutValues(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line, rest, ok := strings.Cut(text, ": ")
	if !ok || !strings.HasPrefix(line, "line ") {
		line, rest = "", text
	}
	for _, quote := range []string{"'", "`", "\""} {
		rest, _, _ = strings.Cut(rest, quote)
	}
	rest = strings.TrimSpace(rest)
	if line == "" {
		return rest
	}
	return line + ": " + rest
}

// Quote returns any string as a YAML double-quoted scalar. Its escapes mean the
// same in YAML and in Go, and the result is ASCII.
func Quote(s string) string { return strconv.QuoteToASCII(strings.ToValidUTF8(s, "\uFFFD")) }

// list returns strings as a YAML flow sequence.
func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
