package recipe

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/typo"
)

// maxNodes bounds a document whose aliases would grow without end.
const maxNodes = 100_000

// Parse reads data as a recipe. name stands in the findings. Keys that are not
// given have the value of the built-in default.
func Parse(name string, data []byte) (Recipe, error) {
	r, err := Default()
	if err != nil {
		return Recipe{}, err
	}
	return parse(name, data, r)
}

// parse lays data over the recipe r.
func parse(name string, data []byte, r Recipe) (Recipe, error) {
	d := decoder{file: name, at: map[string]*yaml.Node{}, failed: map[string]bool{}}
	if doc := d.document(data); doc != nil {
		d.value(doc, reflect.ValueOf(&r).Elem(), "")
		check(&d, &r)
	}
	if len(d.findings) > 0 {
		sortFindings(d.findings)
		return Recipe{}, fault.WrapHint(fault.Invalid, &Error{Findings: d.findings},
			"docs/golden.md explains every key; felhom-golden build --print-recipe prints the built-in recipe")
	}
	return r, nil
}

// decoder walks YAML nodes into a struct, because the library's own strict
// mode stops at the first unknown key and gives type errors no column.
type decoder struct {
	file     string
	findings []Finding
	at       map[string]*yaml.Node // where each path stands in the document
	nodes    int
	failed   map[string]bool
}

func (d *decoder) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.findings = append(d.findings, Finding{File: d.file, Message: "the document is empty: want at least \"version: 1\""})
		return nil
	case err != nil:
		d.findings = append(d.findings, syntaxFinding(d.file, err))
		return nil
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		d.add(&more, "", "a second document follows: want one")
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxFinding takes the line from the library's text, which is all it gives.
func syntaxFinding(file string, err error) Finding {
	f := Finding{File: file, Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		f.Line, _ = strconv.Atoi(m[1]) // digits by the expression
		f.Column = 1
		f.Message = "not YAML: " + strings.TrimPrefix(err.Error(), m[0])
	}
	return f
}

func (d *decoder) add(n *yaml.Node, path, format string, args ...any) {
	f := Finding{File: d.file, Path: path, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Line, f.Column = n.Line, n.Column
	}
	d.findings = append(d.findings, f)
	d.failed[path] = true
}

// wrong adds a finding at the place of path, or of its closest parent that
// stands in the document. A path that did not decode has its finding already.
func (d *decoder) wrong(path, format string, args ...any) {
	if d.failed[path] {
		return
	}
	at := path
	for d.at[at] == nil && at != "" {
		at = parent(at)
	}
	d.add(d.at[at], path, format, args...)
}

func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.add(n, path, "more than %d values in the document", maxNodes)
		}
		return
	}
	d.at[path] = n
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Tag == "!!null" {
		if path == "" {
			d.add(n, path, "the document is empty: want at least \"version: 1\"")
		}
		return // a key without a value keeps its default
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.dictionary(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.add(n, path, "want keys with values, found %s", describe(n))
		return
	}
	fields := map[string]int{}
	names := []string{}
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("yaml"); name != "-" {
			fields[name] = i
			names = append(names, name)
		}
	}
	d.pairs(n, path, func(key, val *yaml.Node) {
		at := join(path, key.Value)
		i, ok := fields[key.Value]
		if !ok {
			d.add(key, at, "unknown key%s", suggest(key.Value, names))
			return
		}
		d.value(val, v.Field(i), at)
	})
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.add(n, path, "want a list, found %s", describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.Tag == "!!null" {
			d.add(item, at, "the item is empty")
			continue
		}
		d.value(item, out.Index(i), at)
	}
	v.Set(out)
}

func (d *decoder) dictionary(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.add(n, path, "want keys with values, found %s", describe(n))
		return
	}
	out := reflect.MakeMap(v.Type())
	d.pairs(n, path, func(key, val *yaml.Node) {
		at := join(path, key.Value)
		item := reflect.New(v.Type().Elem()).Elem()
		if item.Kind() == reflect.Interface {
			if x, ok := d.free(val, at); ok {
				out.SetMapIndex(reflect.ValueOf(key.Value), reflect.ValueOf(&x).Elem())
			}
			return
		}
		d.value(val, item, at)
		out.SetMapIndex(reflect.ValueOf(key.Value), item)
	})
	v.Set(out)
}

// free decodes a value whose shape is not ours, still refusing duplicate keys.
func (d *decoder) free(n *yaml.Node, path string) (any, bool) {
	if d.nodes++; d.nodes > maxNodes {
		return nil, false
	}
	d.at[path] = n
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		d.pairs(n, path, func(key, val *yaml.Node) {
			if x, ok := d.free(val, join(path, key.Value)); ok {
				out[key.Value] = x
			}
		})
		return out, true
	case yaml.SequenceNode:
		out := []any{}
		for i, item := range n.Content {
			if x, ok := d.free(item, fmt.Sprintf("%s[%d]", path, i)); ok {
				out = append(out, x)
			}
		}
		return out, true
	}
	var x any
	if err := n.Decode(&x); err != nil {
		d.add(n, path, "%v", err)
		return nil, false
	}
	return x, true
}

func (d *decoder) pairs(n *yaml.Node, path string, visit func(key, val *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			d.add(key, path, "want a plain key, found %s", describe(key))
			continue
		}
		if line, ok := seen[key.Value]; ok {
			d.add(key, join(path, key.Value), "the key is there twice: first in line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key, val)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.add(n, path, "want %s, found %s", kindName(v.Kind()), describe(n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		// A date is a string here; a number or yes/no is a slip of the quotes.
		if n.Tag != "!!str" && n.Tag != "!!timestamp" {
			d.add(n, path, "want text, found %s: write it in quotes", describe(n))
			return
		}
		v.SetString(n.Value)
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Tag != "!!int" || err != nil {
			d.add(n, path, "want a whole number, found %s", describe(n))
			return
		}
		v.SetInt(int64(i))
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.add(n, path, "want true or false, found %s", describe(n))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	default:
		panic("recipe: a field of kind " + v.Kind().String()) // a new field's type lacks a case here
	}
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!str":
		return fmt.Sprintf("text %q", n.Value)
	case "!!null":
		return "nothing"
	}
	return n.Value
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// suggest names the known key that key was likely meant to be.
func suggest(key string, known []string) string {
	if meant := typo.Closest(key, known); meant != "" {
		return fmt.Sprintf(": did you mean %q?", meant)
	}
	known = slices.Sorted(slices.Values(known))
	return ": want one of " + strings.Join(known, ", ")
}
