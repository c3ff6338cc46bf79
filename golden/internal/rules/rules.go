// Package rules owns the one table of what a golden image must be. Call [All]:
// each [Rule] has its name, its reason, and the paths that must be absent, empty
// or directories only. golden/internal/seal removes, and golden/internal/verify
// forbids, what these rows say; what no row can say is code there. The two know
// nothing of each other; tests on both sides hold them to this table. Beside it
// are lists, and one judgement, that the makers of an image and verify must
// agree on.
package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

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

// Rule is one row of the table. Paths are without the first slash, and their
// elements may be patterns of path.Match.
type Rule struct {
	ID       string // kebab-case, stable: it is in recipes and scripts
	Group    Group
	Severity Severity
	// Restore marks what "pct restore" fails on or changes silently. These
	// rules hold for every vzdump archive; the others only for a golden image.
	Restore bool
	Reason  string // why the rule exists: what happens where it is broken
	Seal    string // what seal does for it; "" if it can do nothing
	Check   string // what verify looks at

	Absent   []string // what must not exist, nor anything below it
	Empty    []string // directories with nothing below them
	Spared   []string // directories that Empty allows; seal removes them all the same
	DirsOnly []string // directories with nothing but directories below them
	Cut      []string // files that DirsOnly allows, without content
	Dirs     []Dir    // directories that must exist

	Trees     []string // directories in which, at any depth,
	Leftovers []string // no regular file has such a name
}

// Paths returns all paths of the rule.
func (r Rule) Paths() []string {
	list := slices.Concat(r.Absent, r.Empty, r.DirsOnly, r.Cut, r.Trees)
	for _, d := range r.Dirs {
		list = append(list, d.Path)
	}
	return list
}

// Dir is a directory of root that must exist.
type Dir struct {
	Path string
	Mode uint32 // what seal makes
	Or   uint32 // what verify accepts too
}

// All returns the table in the order of groups; the caller owns the slice.
// Rules that are all paths have their texts from these.
func All() []Rule {
	all := slices.Concat(archiveRules(), identityRules(), residueRules(), fileRules(), bootRules())
	for i := range all {
		r := &all[i]
		if seal, check := r.describe(); seal != "" {
			r.Seal, r.Check = cmp.Or(r.Seal, seal), cmp.Or(r.Check, check)
		}
	}
	return all
}

// describe returns what seal does for the paths of the rule, and what verify
// looks at; "" for a rule without paths.
func (r Rule) describe() (seal, check string) {
	var do, want []string
	add := func(action, demand string, paths []string) {
		if len(paths) > 0 {
			list := "/" + strings.Join(paths, ", /")
			do, want = append(do, fmt.Sprintf(action, list)), append(want, fmt.Sprintf(demand, list))
		}
	}
	add("removes %s", "absent: %s", r.Absent)
	add("empties %s", "nothing is below %s", r.Empty)
	add("removes everything but directories below %s", "only directories are below %s", r.DirsOnly)
	add("cuts %s to nothing", "empty or absent: %s", r.Cut)
	var dirs []string
	for _, d := range r.Dirs {
		dirs = append(dirs, fmt.Sprintf("%s (%04o)", strings.TrimPrefix(d.Path, "."), d.Mode))
	}
	add("makes the directories %s, of root", "the directories %s, of root, exist", dirs)
	if len(r.Spared) > 0 {
		want = append(want, "a directory /"+strings.Join(r.Spared, ", /")+" is allowed")
	}
	return strings.Join(do, "; "), strings.Join(want, "; ")
}

// Unsealable returns why seal can neither apply nor skip the rule of that name; "" if it can.
func Unsealable(id string) string {
	switch r, ok := ByID(id); {
	case !ok:
		return "unknown rule"
	case r.Seal == "":
		return "seal does nothing for rule"
	}
	return ""
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
