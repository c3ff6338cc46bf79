package contract

import (
	"cmp"
	"fmt"
	"slices"
)

// Finding is one thing that is wrong with a document, or looks wrong.
type Finding struct {
	Severity Severity
	Rule     Rule   // the rule that was broken; stable, documented in docs/contract.md
	Path     string // JSON path: "registry.host"; "" for the document
	Line     int    // 1-based
	Column   int    // 1-based, in bytes
	Message  string // what is wrong and what to do; never holds a secret's value
}

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

// Rule names what a finding is about.
type Rule string

// The rules. Their names are part of the contract; docs/contract.md explains
// each of them.
const (
	RuleSize           Rule = "size"          // larger than the limit, or empty
	RuleEncoding       Rule = "encoding"      // byte order mark, invalid UTF-8, NUL, half a surrogate pair
	RuleSyntax         Rule = "syntax"        // not JSON
	RuleDepth          Rule = "depth"         // nested too deeply
	RuleTrailing       Rule = "trailing-data" // something after the document
	RuleVersion        Rule = "version"       // a schema version that this program does not read
	RuleUnknownKey     Rule = "unknown-key"
	RuleDuplicateKey   Rule = "duplicate-key"
	RuleKeySpelling    Rule = "key-spelling" // a known key in other case or with other separators
	RuleMissing        Rule = "missing"      // a required key is absent
	RuleNull           Rule = "null"         // null in place of a value
	RuleType           Rule = "type"         // a value of another JSON type
	RuleProfile        Rule = "profile"      // a word that is not a profile
	RuleHubURL         Rule = "hub-url"
	RuleHostID         Rule = "host-id"
	RuleGuestID        Rule = "guest-id"
	RuleEndpoint       Rule = "endpoint"
	RulePin            Rule = "pin"           // a pin in a wrong form
	RulePinMissing     Rule = "pin-missing"   // no pin at all
	RulePinRepeated    Rule = "pin-repeated"  // current and next pin are the same
	RulePinNextOnly    Rule = "pin-next-only" // a next pin without a current one of its form
	RuleToken          Rule = "token"
	RuleRegistryHost   Rule = "registry-host" // also of the mirror
	RuleRegistryUser   Rule = "registry-user"
	RuleRegistryUse    Rule = "registry-use"    // a credential for a registry that the image does not come from
	RuleRegistryAccess Rule = "registry-access" // a word that is not one of its values
	RuleImage          Rule = "image"
	RuleDigest         Rule = "digest"
	RuleDigestClash    Rule = "digest-clash" // two different manifest digests
	RuleReadyWait      Rule = "ready-wait"   // not a time, or out of range
	RuleContainer      Rule = "container"    // an override that no container could be made from
	RuleTooMany        Rule = "too-many"     // findings beyond the limit are not listed
	RuleReport         Rule = "report"       // a field of a report
	RulePreload        Rule = "preload"      // a field of the index of preloaded images
)

// MaxFindings is the number of findings after which a document is not worth
// listing any further.
const MaxFindings = 50

// Findings are what is wrong with one document, in the order of their positions.
type Findings []Finding

// Err returns nil when no finding is an error, and else an *[InvalidError].
func (fs Findings) Err() error {
	for _, f := range fs {
		if f.Severity == Error {
			return &InvalidError{Findings: fs}
		}
	}
	return nil
}

// count returns how many findings have severity s.
func (fs Findings) count(s Severity) int {
	n := 0
	for _, f := range fs {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// InvalidError says that a document is refused. Its text is one line: the first
// error and how many there are; [Findings.Format] shows them all.
type InvalidError struct{ Findings Findings }

// Error returns the first error and the number of the others.
func (e *InvalidError) Error() string {
	i := slices.IndexFunc(e.Findings, func(f Finding) bool { return f.Severity == Error })
	if i < 0 {
		return "no error"
	}
	f := e.Findings[i]
	text := fmt.Sprintf("line %d, column %d: ", f.Line, f.Column)
	if f.Path != "" {
		text += f.Path + ": "
	}
	text += f.Message
	switch n := e.Findings.count(Error); n {
	case 1:
		return text
	case 2:
		return text + " (and 1 more error)"
	default:
		return fmt.Sprintf("%s (and %d more errors)", text, n-1)
	}
}

// report collects findings of one source by byte offset.
type report struct {
	src        []byte
	lineStarts []int // offset of each line
	found      []located
	secrets    []string // values that no message may repeat
}

// located is a finding whose place is still an offset.
type located struct {
	off int
	f   Finding
}

func newReport(src []byte) *report {
	r := &report{src: src, lineStarts: []int{0}}
	for i, b := range src {
		if b == '\n' {
			r.lineStarts = append(r.lineStarts, i+1)
		}
	}
	return r
}

func (r *report) errorf(rule Rule, off int, path, format string, args ...any) {
	r.found = append(r.found, located{off, Finding{Severity: Error, Rule: rule, Path: path, Message: fmt.Sprintf(format, args...)}})
}

func (r *report) warnf(rule Rule, off int, path, format string, args ...any) {
	r.found = append(r.found, located{off, Finding{Severity: Warning, Rule: rule, Path: path, Message: fmt.Sprintf(format, args...)}})
}

// failed reports whether there is an error so far.
func (r *report) failed() bool {
	return slices.ContainsFunc(r.found, func(l located) bool { return l.f.Severity == Error })
}

// position returns the 1-based line and byte column of an offset.
func (r *report) position(off int) (line, column int) {
	line, found := slices.BinarySearch(r.lineStarts, off)
	if found {
		line++
	}
	return line, off - r.lineStarts[line-1] + 1
}

// findings returns what was collected, sorted, and cut at MaxFindings with a
// last entry that says how many were left out.
func (r *report) findings() Findings {
	slices.SortStableFunc(r.found, func(a, b located) int {
		return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.f.Severity, b.f.Severity))
	})
	var fs Findings
	for i, l := range r.found {
		l.f.Line, l.f.Column = r.position(l.off)
		l.f.Message = r.hide(l.f.Message)
		if i < MaxFindings {
			fs = append(fs, l.f)
			continue
		}
		rest := r.found[i:]
		last := Finding{
			Severity: Warning, Rule: RuleTooMany, Line: l.f.Line, Column: l.f.Column,
			Message: fmt.Sprintf("%d more findings from here on; correct those above first", len(rest)),
		}
		if slices.ContainsFunc(rest, func(l located) bool { return l.f.Severity == Error }) {
			last.Severity = Error
		}
		return append(fs, last)
	}
	return fs
}
