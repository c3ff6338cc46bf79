// Package strictyaml reads configuration files in YAML and reports everything
// that is wrong with them in one run, each finding with its line and column.
// Call [Read] first, take values from [Document.Root] by [Value.Fields] (a table
// of keys) or [Value.Decode] (a struct with yaml tags), add findings of your own
// with [Document.Add], and end with [Document.Err].
//
// Unknown keys (with a suggestion), keys given twice, second documents and
// values of the wrong type are findings. No message names a Go type.
package strictyaml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/internal/finding"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// maxNodes and maxDepth bound the values that are looked at in one document,
// which aliases could multiply without end.
const (
	maxNodes = 100_000
	maxDepth = 100
)

// maxFindings bounds what is printed of a file that is something else.
const maxFindings = 200

// Findings are the findings of one document by line and column. They are its
// error if one of them has the severity [finding.Error].
type Findings struct {
	File string
	List []finding.Finding
}

// Error returns one line for each finding: "file:line:column: error: path: message".
func (f *Findings) Error() string {
	lines := make([]string, len(f.List))
	for i, one := range f.List {
		lines[i] = fmt.Sprintf("%s:%s", f.File, one)
	}
	return strings.Join(lines, "\n")
}

// Options say what a document may contain.
type Options struct {
	MaxBytes   int  // 0: no limit
	Aliases    bool // accept anchors and aliases
	HideValues bool // leave values out of messages, because they may be secrets
}

// Document is one YAML document and what was found in it so far.
type Document struct {
	file     string
	opts     Options
	root     *yaml.Node
	findings []finding.Finding
	at       map[string]*yaml.Node // the nodes of the paths that were looked at
	failed   map[string]bool
	nodes    int
}

// Read parses data. file is only its name in the findings. What is wrong with
// the document is in [Document.Err], never in a nil result; a document that is
// not YAML, or that is empty, has a root without keys.
func Read(file string, data []byte, opts Options) *Document {
	d := &Document{file: file, opts: opts, at: map[string]*yaml.Node{}, failed: map[string]bool{}}
	if opts.MaxBytes > 0 && len(data) > opts.MaxBytes {
		d.add(nil, "", finding.Error, "the file has %d bytes, which exceeds the limit of %d", len(data), opts.MaxBytes)
		return d
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return d
	case err != nil:
		d.syntax(err)
		return d
	}
	if root := doc.Content[0]; root.Kind != yaml.ScalarNode || root.Tag != "!!null" {
		d.root = root
		d.Root().enter()
	}
	switch err := dec.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntax(err)
	default:
		d.add(&more, "", finding.Error, "a second document follows: want one")
	}
	return d
}

// yamlError takes the line from the library's text, which is the only place
// that has it.
var yamlError = regexp.MustCompile(`(?s)^(?:yaml: )?(?:line (\d+): )?(.*)$`)

func (d *Document) syntax(err error) {
	m := yamlError.FindStringSubmatch(err.Error())
	line, text := 1, m[2]
	if n, err := strconv.Atoi(m[1]); err == nil {
		line = max(n, 1)
	}
	switch {
	case strings.HasPrefix(text, "unknown anchor") && !d.opts.Aliases: // its name can be a password
		text = `unknown anchor; a value that begins with "*" must be in quotes`
	case d.opts.HideValues: // the library quotes anchors and tags, which are bytes of the file
		text = text[:max(strings.IndexAny(text+"'", "'`\""), 0)]
	}
	// What could be read of a broken document is not worth a finding.
	d.root, d.failed[""] = nil, true
	d.findings = append(d.findings, finding.Finding{Line: line, Column: 1, Message: "not YAML: " + termtext.Name(strings.TrimSpace(text))})
}

// Empty reports whether the document has no values at all.
func (d *Document) Empty() bool { return d.root == nil }

// Root returns the document's value, a mapping without keys if it is empty.
func (d *Document) Root() Value {
	if d.root == nil {
		return Value{doc: d, node: &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}}
	}
	return Value{doc: d, node: d.root}
}

// At returns the value at path, if the document has one there that was looked at.
func (d *Document) At(path string) (Value, bool) {
	n, ok := d.at[path]
	return Value{doc: d, node: n, Path: path}, ok
}

// Add adds an error at the place of path or, if the document has no such key,
// of its closest parent. It does nothing if path has a finding already.
func (d *Document) Add(path, format string, args ...any) {
	d.addAt(path, finding.Error, format, args...)
}

// Warn adds a warning as [Document.Add] adds an error.
func (d *Document) Warn(path, format string, args ...any) {
	d.addAt(path, finding.Warning, format, args...)
}

func (d *Document) addAt(path string, s finding.Severity, format string, args ...any) {
	if d.failed[path] {
		return
	}
	near := path
	for d.at[near] == nil && near != "" {
		near = near[:max(strings.LastIndexAny(near, ".["), 0)]
	}
	d.add(d.at[near], path, s, format, args...)
}

func (d *Document) add(n *yaml.Node, path string, s finding.Severity, format string, args ...any) {
	f := finding.Finding{Severity: s, Path: termtext.Name(path), Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Line, f.Column = max(n.Line, 1), max(n.Column, 1)
	}
	d.findings = append(d.findings, f)
	d.failed[path] = d.failed[path] || s == finding.Error
}

// Findings returns all findings by line and column.
func (d *Document) Findings() *Findings {
	list := slices.Clone(d.findings)
	slices.SortStableFunc(list, func(a, b finding.Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	if len(list) > maxFindings {
		last := list[maxFindings]
		last.Path, last.Message = "", fmt.Sprintf("%d more findings from here on", len(list)-maxFindings)
		list = append(list[:maxFindings], last)
	}
	return &Findings{File: d.file, List: list}
}

// Err returns a [*Findings] if the document has an error, else nil.
func (d *Document) Err() error {
	if !slices.ContainsFunc(d.findings, func(f finding.Finding) bool { return f.Severity == finding.Error }) {
		return nil
	}
	return d.Findings()
}

// Join returns the path of key in the mapping at path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Index returns the path of item i of the list at path.
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
