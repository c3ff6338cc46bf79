package contract

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/typo"
)

// ignoredPrefix begins the keys that are ignored on purpose: notes of whoever
// wrote the document.
const ignoredPrefix = "x_"

// object is a JSON object whose keys were checked.
type object struct {
	*report
	node   *node
	path   string
	values map[string]*node // known keys with their first value, null, misspelt and unread ones as nil
}

// openObject checks the keys of n, which is at path, against known. It returns nil
// if n is not an object.
func openObject(r *report, n *node, path string, known []string) *object {
	if n.kind != kindObject {
		r.errorf(RuleType, n.off, path, "want an object, got %s", n.kind)
		return nil
	}
	o := &object{report: r, node: n, path: path, values: map[string]*node{}}
	for _, m := range uniqueMembers(r, n, path) {
		o.keep(m, known)
	}
	return o
}

// uniqueMembers returns the members of n without those whose key came before,
// after reporting them.
func uniqueMembers(r *report, n *node, path string) []member {
	first := map[string]*node{}
	var unique []member
	for _, m := range n.members {
		if m.key.spoilt {
			continue
		}
		if before, again := first[m.key.text]; again {
			line, column := r.position(before.off)
			r.errorf(RuleDuplicateKey, m.key.off, joinPath(path, m.key.text),
				"the key is here a second time, the first is at line %d, column %d; keep one of them", line, column)
			continue
		}
		first[m.key.text] = m.key
		unique = append(unique, m)
	}
	return unique
}

// keep files one member under its key, or says what is wrong with the key.
func (o *object) keep(m member, known []string) {
	key, path := m.key.text, joinPath(o.path, m.key.text)
	switch {
	case slices.Contains(known, key):
		switch m.value.kind {
		case kindNull:
			o.errorf(RuleNull, m.value.off, path, "null is not a value; leave the key out")
			o.values[key] = nil
		case kindUnread:
			o.values[key] = nil
		default:
			o.values[key] = m.value
		}
		return
	case strings.HasPrefix(key, ignoredPrefix):
		return
	}
	meant, sameWord := closest(key, known)
	switch {
	case meant == "":
		o.errorf(RuleUnknownKey, m.key.off, path, "unknown key; remove it, or begin it with %q to have it ignored", ignoredPrefix)
		return
	case sameWord:
		o.errorf(RuleKeySpelling, m.key.off, path, "keys are matched exactly; write it as %q", meant)
	default:
		o.errorf(RuleUnknownKey, m.key.off, path, "unknown key; did you mean %q?", meant)
	}
	// The key is there in spirit: calling it missing as well would be noise.
	if _, there := o.values[meant]; !there {
		o.values[meant] = nil
	}
}

// need reports key as missing when it is. An object that the text breaks off
// in may have had it.
func (o *object) need(key, what string) {
	if _, there := o.values[key]; !there && !o.node.cut {
		o.errorf(RuleMissing, o.node.off, joinPath(o.path, key), "the key is missing; %s", what)
	}
}

// get returns the value of key where it is there and of kind k.
func (o *object) get(key string, k kind) (*node, bool) {
	n := o.values[key]
	if n == nil {
		return nil, false
	}
	if n.kind != k {
		o.errorf(RuleType, n.off, joinPath(o.path, key), "want %s, got %s", k, n.kind)
		return nil, false
	}
	return n, !n.spoilt
}

// parse gives the string at key to a parser, whose error becomes a finding.
func parse[T any](o *object, key string, rule Rule, parser func(string) (T, error)) (value T, there bool) {
	n, ok := o.get(key, kindString)
	if !ok {
		return value, false
	}
	value, err := parser(n.text)
	if err != nil {
		o.errorf(rule, n.off, joinPath(o.path, key), "%v", err)
		var zero T
		return zero, false
	}
	return value, true
}

// checked makes a parser of a check.
func checked(check func(string) error) func(string) (string, error) {
	return func(s string) (string, error) { return s, check(s) }
}

// whole reads the integer at key, of at most nine digits.
func (o *object) whole(key string, rule Rule) (value int, there bool) {
	n, ok := o.get(key, kindNumber)
	if !ok {
		return 0, false
	}
	if strings.ContainsAny(n.text, ".eE") {
		o.errorf(rule, n.off, joinPath(o.path, key), "write a whole number, without fraction and exponent")
		return 0, false
	}
	if len(n.text) > len("-999999999") {
		o.errorf(rule, n.off, joinPath(o.path, key), "the number has %d digits; at most 9 are accepted", len(strings.TrimPrefix(n.text, "-")))
		return 0, false
	}
	value, err := strconv.Atoi(n.text)
	return value, err == nil // the reader let only digits through
}

// joinPath appends a key to a path. A key that is not shaped like one may be
// anything, even a misplaced secret, and is not repeated.
func joinPath(path, key string) string {
	if !isKeyShaped(key) {
		key = fmt.Sprintf("(a key of %d bytes)", len(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// tokenPrefix begins the tokens that felhom-agentd mints.
const tokenPrefix = "fgt_"

// maxShownKey is longer than every key here and shorter than every token.
const maxShownKey = 40

// isKeyShaped reports whether key may be shown: letters, digits, hyphens and
// underscores, beginning with a letter or underscore, and not as long as a token.
func isKeyShaped(key string) bool {
	if key == "" || len(key) > maxShownKey || strings.HasPrefix(key, tokenPrefix) {
		return false
	}
	for i := range len(key) {
		b := key[i]
		if !isAlnum(b) && b != '_' && (b != '-' && b != '.' || i == 0) || i == 0 && b >= '0' && b <= '9' {
			return false
		}
	}
	return true
}

// closest returns the known key that key most likely stands for, "" for none.
// sameWord reports whether they differ in case and separators only.
func closest(key string, known []string) (meant string, sameWord bool) {
	if len(key) > maxShownKey {
		return "", false
	}
	fold := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(s))
	}
	best := 1 + len(key)/4 // more than every fourth character wrong is another word
	for _, k := range known {
		if fold(k) == fold(key) {
			return k, true
		}
		if d := typo.Distance(strings.ToLower(key), k); d <= best && d < len(k) && (meant == "" || d < best) {
			best, meant = d, k
		}
	}
	return meant, false
}
