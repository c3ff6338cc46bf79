// Package finding holds the one type for what is wrong with a document that a person
// or another program wrote: [Finding]. internal/jsondoc and internal/strictyaml make
// them. It is small because both are built from it, and neither from the other.
package finding

import "fmt"

// Finding is one thing that is wrong with a document, or looks wrong.
type Finding struct {
	Severity Severity
	Rule     Rule   // the rule that was broken; "" in documents whose rules have no names
	Path     string // of the key, as in guests[1].vmid; "" is the document
	Line     int    // 1-based
	Column   int    // 1-based: in bytes of JSON, in characters of YAML
	Message  string // what is wrong and what to do; never holds a secret's value
}

// Rule names what a finding is about.
type Rule string

// String returns "line:column: error: path: message".
func (f Finding) String() string {
	if f.Path == "" {
		return fmt.Sprintf("%d:%d: %s: %s", f.Line, f.Column, f.Severity, f.Message)
	}
	return fmt.Sprintf("%d:%d: %s: %s: %s", f.Line, f.Column, f.Severity, f.Path, f.Message)
}

// Severity is error, which refuses the document, or warning.
type Severity int

// The severities.
const (
	Error Severity = iota
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}
