package jsondoc

import (
	"fmt"
	"slices"

	"github.com/felhom/felhom-golden/internal/finding"
)

// Rule names what a finding is about.
type Rule = finding.Rule

// The rules that each document has. Their names do not change.
const (
	RuleSize         Rule = "size"          // larger than the limit, or empty
	RuleEncoding     Rule = "encoding"      // byte order mark, invalid UTF-8, NUL, half a surrogate pair
	RuleSyntax       Rule = "syntax"        // not JSON
	RuleDepth        Rule = "depth"         // nested too deeply
	RuleTrailing     Rule = "trailing-data" // something after the document
	RuleUnknownKey   Rule = "unknown-key"
	RuleDuplicateKey Rule = "duplicate-key"
	RuleKeySpelling  Rule = "key-spelling" // a known key in other case or with other separators
	RuleMissing      Rule = "missing"      // a required key is absent
	RuleNull         Rule = "null"         // null in place of a value
	RuleType         Rule = "type"         // a value of another JSON type
	RuleTooMany      Rule = "too-many"     // findings beyond the limit are not listed
)

// MaxFindings is the number of findings after which a document is not worth
// listing any further.
const MaxFindings = 50

// Findings are what is wrong with one document, in the order of their positions.
type Findings struct {
	List []finding.Finding
	doc  *Document
}

// Errors returns the findings that refuse the document.
func (fs Findings) Errors() []finding.Finding {
	return slices.DeleteFunc(slices.Clone(fs.List), func(f finding.Finding) bool { return f.Severity != finding.Error })
}

// Err returns nil if no finding is an error, and else an *[InvalidError].
func (fs Findings) Err() error {
	if len(fs.Errors()) == 0 {
		return nil
	}
	return &InvalidError{Findings: fs}
}

// InvalidError says that a document is refused. Its text is one line: the first
// error and how many there are; [Findings.Format] shows them all.
type InvalidError struct{ Findings Findings }

// Error returns the first error and the number of the others.
func (e *InvalidError) Error() string {
	errs := e.Findings.Errors()
	if len(errs) == 0 {
		return "no error"
	}
	f := errs[0]
	text := fmt.Sprintf("line %d, column %d: ", f.Line, f.Column)
	if f.Path != "" {
		text += f.Path + ": "
	}
	text += f.Message
	switch n := len(errs) - 1; n {
	case 0:
		return text
	case 1:
		return text + " (and 1 more error)"
	default:
		return fmt.Sprintf("%s (and %d more errors)", text, n)
	}
}
