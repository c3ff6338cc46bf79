// Package jsondoc reads JSON documents that people have to correct: it keeps the place
// of each value, reports everything that is wrong in one run, with line and column, and
// shows no secret of the document. Call [Read], then [Document.Root] with the keys of
// the document, then the methods of [Object] and [Text] for each key, and
// [Document.Findings] at the end. It opens no file.
//
// encoding/json forgets where a key was, takes duplicate and other-case keys in silence
// and gives up at the first mistake.
package jsondoc

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/felhom/felhom-golden/internal/finding"
)

// Format describes one kind of document.
type Format struct {
	Name         string   // the name of the document in messages, such as "file"
	MaxBytes     int      // 0: no limit
	Keys         []string // the keys that are kept although no ":" follows them
	SecretPrefix string   // begins words that no message shows, wherever they are; "" for none

	// Public reports whether findings may show the string or number at path. Nil
	// means that they show none.
	Public func(path, value string) bool
}

// Redacted stands for a secret in messages.
const Redacted = "[redacted]"

// Document is one document and what was found in it so far.
type Document struct {
	format     Format
	src        []byte // nil if it exceeds the limit
	lineStarts []int  // offset of each line
	root       *Value
	found      []finding.Finding
	secrets    []string // values that no message may repeat
}

// Read reads data. What is wrong with it is in [Document.Findings].
func Read(data []byte, f Format) *Document {
	d := &Document{format: f, lineStarts: []int{0}}
	if f.MaxBytes > 0 && len(data) > f.MaxBytes {
		d.errorf(RuleSize, 0, "the %s is %d bytes long; at most %d are read", f.Name, len(data), f.MaxBytes)
		return d
	}
	d.src = data
	for i, b := range data {
		if b == '\n' {
			d.lineStarts = append(d.lineStarts, i+1)
		}
	}
	d.read()
	return d
}

// Value returns the document's value: all that was read before the text became
// unreadable, nil if there was nothing.
func (d *Document) Value() *Value { return d.root }

// Root opens the document's value as [Document.Object] does. It returns nil if there
// is none.
func (d *Document) Root(known []string) *Object {
	if d.root == nil {
		return nil
	}
	return d.Object(d.root, "", known)
}

func (d *Document) errorf(rule Rule, off int, format string, args ...any) {
	d.add(finding.Error, rule, off, "", format, args)
}

func (d *Document) add(s finding.Severity, rule Rule, off int, path, format string, args []any) {
	line, column := d.position(off)
	d.found = append(d.found, finding.Finding{Severity: s, Rule: rule, Path: path, Line: line, Column: column, Message: fmt.Sprintf(format, args...)})
}

// Errorf adds an error at a value; path is where it is, or what is missing in it.
func (d *Document) Errorf(rule Rule, at *Value, path, format string, args ...any) {
	d.add(finding.Error, rule, at.off, path, format, args)
}

// Warnf adds a warning as [Document.Errorf] adds an error.
func (d *Document) Warnf(rule Rule, at *Value, path, format string, args ...any) {
	d.add(finding.Warning, rule, at.off, path, format, args)
}

// position returns the 1-based line and byte column of an offset.
func (d *Document) position(off int) (line, column int) {
	line, found := slices.BinarySearch(d.lineStarts, off)
	if found {
		line++
	}
	return line, off - d.lineStarts[line-1] + 1
}

// Findings returns what was collected, sorted, and cut at [MaxFindings] with a
// last entry that says how many were left out.
func (d *Document) Findings() Findings {
	list := slices.Clone(d.found)
	slices.SortStableFunc(list, func(a, b finding.Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Severity, b.Severity))
	})
	if len(list) > MaxFindings {
		rest, last := list[MaxFindings:], list[MaxFindings]
		last.Rule, last.Path, last.Message = RuleTooMany, "", fmt.Sprintf("%d more findings from here on; correct those above first", len(rest))
		for _, f := range rest {
			last.Severity = min(last.Severity, f.Severity) // one error among them makes it one
		}
		list = append(list[:MaxFindings:MaxFindings], last)
	}
	for i := range list {
		list[i].Message = d.hide(list[i].Message)
	}
	return Findings{List: list, doc: d}
}
