package verify

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// checkPaths checks what the paths of the rule demand.
func (c *check) checkPaths() {
	r := c.rule
	if len(r.Paths()) == 0 {
		return // most rules have none, and there are thousands of members
	}
	c.absent(r.Absent...)
	empty, dirsOnly := newPatterns(r.Empty), newPatterns(r.DirsOnly)
	for _, e := range c.Entries {
		switch {
		case e.Type == vzdump.File && slices.Contains(r.Cut, e.Path):
			if e.Size > 0 {
				c.fail(e.Path, "holds %d bytes, want none", e.Size)
			}
			continue
		case e.Type == vzdump.Dir && slices.Contains(r.Spared, e.Path):
			continue
		}
		if dir := empty.above(e.Path); dir != "" {
			c.fail(e.Path, "%s below /%s, want nothing there", e.Type, dir)
		} else if dir := dirsOnly.above(e.Path); dir != "" && e.Type != vzdump.Dir {
			c.fail(e.Path, "%s below /%s, want nothing there", e.Type, dir)
		}
		if e.Type == vzdump.File && allowed(r.Leftovers, path.Base(e.Path)) && slices.ContainsFunc(r.Trees, func(dir string) bool { return image.IsBelow(dir, e.Path) }) {
			c.fail(e.Path, "an editor's or dpkg's leftover, or a core dump")
		}
	}
	for _, d := range r.Dirs {
		c.checkDir(d)
	}
}

// absent reports members that match one of the patterns, or are below a
// directory that does and has no member of its own.
func (c *check) absent(list ...string) {
	p := newPatterns(list)
	for _, e := range c.Entries {
		if dir := p.above(e.Path); p.match(e.Path) {
			c.fail(e.Path, "is there, want it gone")
		} else if dir != "" && c.ByPath[dir] == nil {
			c.fail(e.Path, "is there, want /%s gone", dir)
		}
	}
}

func (c *check) checkDir(d rules.Dir) {
	e := c.ByPath[d.Path]
	if e != nil && e.Type == vzdump.Dir && e.UID == 0 && e.GID == 0 && (e.Mode == d.Mode || e.Mode == d.Or) {
		return
	}
	got := "is missing"
	if e != nil {
		got = fmt.Sprintf("is a %s of mode %04o, owner %d:%d", e.Type, e.Mode, e.UID, e.GID)
	}
	c.fail(d.Path, "%s, want a directory of mode %04o, owner 0:0", got, d.Mode)
}

// patterns are paths whose elements may be patterns of path.Match.
type patterns [][]element

// element is one of a path.
type element struct {
	text string
	wild bool // text is a pattern
}

func newPatterns(list []string) patterns {
	p := make(patterns, 0, len(list))
	for _, text := range list {
		var elements []element
		for part := range strings.SplitSeq(text, "/") {
			elements = append(elements, element{part, strings.ContainsAny(part, `*?[\`)})
		}
		p = append(p, elements)
	}
	return p
}

// match reports whether e is, or matches, one element of a name.
func (e element) match(name string) bool {
	if e.text == name || !e.wild {
		return e.text == name
	}
	ok, err := path.Match(e.text, name)
	return ok && err == nil
}

// match reports whether one of the patterns is name.
func (p patterns) match(name string) bool {
	return slices.ContainsFunc(p, func(pattern []element) bool {
		found, whole := prefix(pattern, name)
		return whole && found != ""
	})
}

// above returns the directory above name that matches one of the patterns, or "".
func (p patterns) above(name string) string {
	for _, pattern := range p {
		if found, whole := prefix(pattern, name); !whole {
			return found
		}
	}
	return ""
}

// prefix returns the first elements of name, as many as the pattern has, if they
// match it, and whether these are all.
func prefix(pattern []element, name string) (found string, whole bool) {
	if first := pattern[0]; !first.wild && !strings.HasPrefix(name, first.text) {
		return "", true // as almost all names
	}
	at := 0
	for i, e := range pattern {
		end := strings.IndexByte(name[at:], '/')
		if end < 0 {
			end = len(name) - at
		}
		if !e.match(name[at : at+end]) {
			return "", true
		}
		switch at += end; {
		case i == len(pattern)-1:
			return name[:at], at == len(name)
		case at == len(name):
			return "", true
		}
		at++
	}
	return "", true
}
