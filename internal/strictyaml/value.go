package strictyaml

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/internal/finding"
	"github.com/felhom/felhom-golden/internal/termtext"
	"github.com/felhom/felhom-golden/internal/typo"
)

// Value is one value of a document. A method that reads it as some type adds a
// finding and returns false if it is of another type.
type Value struct {
	doc  *Document
	node *yaml.Node
	Path string

	depth int
}

// Scalar returns text as the value of key in a document of its own, as if it
// were written there without quotes. Its findings are in the document's Err.
func Scalar(key, text string) (*Document, Value) {
	d := Read("", nil, Options{})
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Line: 1, Column: 1}
	if _, err := strconv.Atoi(text); err == nil {
		n.Tag = "!!int"
	} else if text == "true" || text == "false" {
		n.Tag = "!!bool"
	}
	return d, Value{doc: d, node: n, Path: key}
}

// Line returns the line that the value begins in.
func (v Value) Line() int { return v.node.Line }

// Add adds an error at the value.
func (v Value) Add(format string, args ...any) {
	v.doc.add(v.node, v.Path, finding.Error, format, args...)
}

// AddAt adds an error at the value of path below v, as in "ports[0]", or at its closest parent.
func (v Value) AddAt(path, format string, args ...any) {
	full := v.Path + path
	if v.Path != "" && path != "" && path[0] != '[' {
		full = Join(v.Path, path)
	}
	v.doc.Add(full, format, args...)
}

// IsList reports whether the value is a list.
func (v Value) IsList() bool { return v.target().Kind == yaml.SequenceNode }

// IsMapping reports whether the value has keys.
func (v Value) IsMapping() bool { return v.target().Kind == yaml.MappingNode }

// IsNull reports whether the key has no value.
func (v Value) IsNull() bool { return v.target().Tag == "!!null" }

// IsText reports whether the value is text, in quotes or not.
func (v Value) IsText() bool {
	n := v.target()
	return n.Kind == yaml.ScalarNode && (n.Tag == "!!str" || n.Tag == "!!timestamp")
}

func (v Value) target() *yaml.Node {
	if v.node.Kind == yaml.AliasNode {
		return v.node.Alias
	}
	return v.node
}

// String describes the value for a message: its kind, or the scalar itself. A
// long scalar is cut; a document with hidden values shows its type alone.
func (v Value) String() string {
	n := v.target()
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys with values"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	plain := n.Tag == "!!int" || n.Tag == "!!float" || n.Tag == "!!bool"
	switch {
	case v.doc.opts.HideValues && n.Tag == "!!bool":
		return "true or false"
	case v.doc.opts.HideValues && plain:
		return "a number"
	case v.doc.opts.HideValues:
		return "text"
	case plain && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 && len(n.Value) < 40:
		return termtext.Name(n.Value)
	}
	const most = 60
	if text := []rune(n.Value); len(text) > most {
		return strconv.Quote(string(text[:most])) + " and more"
	}
	return strconv.Quote(n.Value)
}

// enter counts the value and remembers its place; false ends the work on it.
func (v Value) enter() bool {
	d := v.doc
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			v.Add("the document exceeds the limit of %d values", maxNodes)
		}
		return false
	}
	if v.depth > maxDepth {
		v.Add("the document exceeds the limit of %d levels", maxDepth)
		d.nodes = maxNodes + 1 // one finding for an alias that repeats itself
		return false
	}
	d.at[v.Path] = v.node
	if !d.opts.Aliases && (v.node.Kind == yaml.AliasNode || v.node.Anchor != "") {
		v.Add("anchors and aliases are not read here; write the value out")
		return false
	}
	return true
}

func (v Value) child(n *yaml.Node, path string) Value {
	return Value{doc: v.doc, node: n, Path: path, depth: v.depth + 1}
}

// Field says how the value of one key is read.
type Field struct {
	Required bool
	Take     func(v Value)
	// Meant is the key to suggest for one that is not read, such as the name that
	// another tool has for the same setting; "" for a key that is read by Take.
	Meant string
}

// Fields reads a mapping by the table of its keys. Keys that are not in the
// table, keys given twice and required keys that are missing are findings.
func (v Value) Fields(table map[string]Field) {
	known := make([]string, 0, len(table))
	for name, f := range table {
		if f.Meant == "" {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	given := map[string]bool{}
	if !v.pairs(func(key *yaml.Node, val Value) {
		f, ok := table[key.Value]
		if !ok {
			v.doc.add(key, val.Path, finding.Error, "unknown key; %s", suggest(key.Value, known))
			return
		}
		if f.Meant != "" {
			v.doc.add(key, val.Path, finding.Error, "unknown key; did you mean %q?", f.Meant)
			return
		}
		given[key.Value] = true
		if val.enter() {
			f.Take(val)
		}
	}) {
		return
	}
	if v.doc.root == nil && v.doc.failed[""] {
		return // nothing could be read
	}
	for _, name := range known {
		if table[name].Required && !given[name] {
			v.doc.add(v.node, Join(v.Path, name), finding.Error, "is missing")
		}
	}
}

func suggest(key string, known []string) string {
	if meant := typo.Closest(key, known); meant != "" {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	return "want one of " + strings.Join(known, ", ")
}

// Pairs calls visit with each key and value of a mapping whose keys are free.
func (v Value) Pairs(visit func(key string, val Value)) bool {
	return v.pairs(func(key *yaml.Node, val Value) {
		if val.enter() {
			visit(key.Value, val)
		}
	})
}

func (v Value) pairs(visit func(key *yaml.Node, val Value)) bool {
	n := v.target()
	if n.Kind != yaml.MappingNode {
		v.Add("want keys with values, got %s", v)
		return false
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], v.child(n.Content[i+1], Join(v.Path, n.Content[i].Value))
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			v.doc.add(key, v.Path, finding.Error, "want a plain key, got %s", v.child(key, v.Path))
			continue
		}
		if line, twice := lines[key.Value]; twice {
			v.doc.add(key, val.Path, finding.Error, "the key is given twice; the first is in line %d", line)
			continue
		}
		lines[key.Value] = key.Line
		visit(key, val)
	}
	return true
}

// Items calls visit with each item of a list.
func (v Value) Items(visit func(i int, item Value)) bool {
	n := v.target()
	if n.Kind != yaml.SequenceNode {
		v.Add("want a list, got %s", v)
		return false
	}
	for i, one := range n.Content {
		if item := v.child(one, Index(v.Path, i)); item.enter() {
			visit(i, item)
		}
	}
	return true
}

// Len returns the number of items of a list, 0 for every other value.
func (v Value) Len() int {
	if n := v.target(); n.Kind == yaml.SequenceNode {
		return len(n.Content)
	}
	return 0
}

// Text reads text. A number, true or false without quotes is a finding, because
// other readers of the file would take it for that.
func (v Value) Text() (string, bool) {
	if v.IsText() {
		return v.target().Value, true
	}
	hint := ": write it in quotes"
	if n := v.target(); n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		hint = ""
	}
	v.Add("want text, got %s%s", v, hint)
	return "", false
}

// Raw reads any scalar as the text that is written in the document.
func (v Value) Raw() (string, bool) {
	n := v.target()
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		v.Add("want text, got %s", v)
		return "", false
	}
	return n.Value, true
}

// Int reads a whole number.
func (v Value) Int() (int, bool) {
	n := v.target()
	i, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
		v.Add("want a whole number, got %s", v)
		return 0, false
	}
	return i, true
}

// IntIn reads a whole number from low to high.
func (v Value) IntIn(low, high int) (int, bool) {
	n := v.target()
	i, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || i < low || i > high {
		v.Add("want a whole number from %d to %d, got %s", low, high, v)
		return 0, false
	}
	return i, true
}

// Bool reads true or false.
func (v Value) Bool() (value, ok bool) {
	n := v.target()
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		v.Add("want true or false, got %s", v)
		return false, false
	}
	return strings.EqualFold(n.Value, "true"), true
}
