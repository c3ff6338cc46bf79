// Package rules owns the one table of what a golden image must be: each rule's
// name, reason, what seal does for it and how verify checks it. The code behind a
// rule lives in golden/internal/seal and golden/internal/verify, which know
// nothing of each other; tests on both sides hold them to this table. Beside it
// are the lists, and the one judgement, that the makers of an image and verify
// must agree on.
package rules

// Severity says what a finding of a rule means for the archive.
type Severity string

// The severities. Only errors make an archive invalid, unless a strict check
// was asked for.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Group is the part of an image that a rule is about.
type Group string

// The groups, in the order they are listed and reported.
const (
	Archive  Group = "archive"  // the file, its members and its guest configuration
	Identity Group = "identity" // what must differ between two guests, and secrets
	Residue  Group = "residue"  // what the build left behind
	Files    Group = "files"    // modes, owners, links, kinds of file
	Boot     Group = "boot"     // systemd, Docker, network: what happens at the first start
)

// Rule is one row of the table.
type Rule struct {
	ID       string // kebab-case, stable: it stands in recipes and scripts
	Group    Group
	Severity Severity
	// Restore marks what "pct restore" fails on or changes silently. These
	// rules hold for every vzdump archive; the others only for a golden.
	Restore bool
	Reason  string // why the rule is there: what happens where it is broken
	Seal    string // what seal does for it; empty when it can do nothing
	Check   string // what verify looks at
}

// All returns the table in the order of groups; the caller owns the slice.
func All() []Rule {
	var all []Rule
	for _, group := range [][]Rule{archiveRules(), identityRules(), residueRules(), fileRules(), bootRules()} {
		all = append(all, group...)
	}
	return all
}

// ByID returns the rule of that name.
func ByID(id string) (Rule, bool) {
	for _, r := range All() {
		if r.ID == id {
			return r, true
		}
	}
	return Rule{}, false
}
