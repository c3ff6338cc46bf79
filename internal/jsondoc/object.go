package jsondoc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/typo"
)

// ignoredPrefix begins the keys that are ignored on purpose: notes of the
// document's author.
const ignoredPrefix = "x_"

// Object is a JSON object whose keys were checked.
type Object struct {
	*Document
	node   *Value
	path   string
	values map[string]*Value // known keys with their first value, null, misspelt and unread ones as nil
}

// Object opens v, which is at path, and checks its keys against known. It returns nil
// after a finding if v is not an object.
func (d *Document) Object(v *Value, path string, known []string) *Object {
	if v.Kind != KindObject {
		d.Errorf(RuleType, v, path, "want an object, got %s", v.Kind)
		return nil
	}
	o := &Object{Document: d, node: v, path: path, values: map[string]*Value{}}
	for _, m := range d.Unique(v, path) {
		o.keep(m, known)
	}
	return o
}

// Unique returns the members of v, which is at path, without those whose key came
// before, after reporting them.
func (d *Document) Unique(v *Value, path string) []Member {
	first := map[string]*Value{}
	var unique []Member
	for _, m := range v.Members {
		if m.Key.Spoilt {
			continue
		}
		if before, again := first[m.Key.Text]; again {
			line, column := d.position(before.off)
			d.Errorf(RuleDuplicateKey, m.Key, d.Join(path, m.Key.Text),
				"the key is here a second time, the first is at line %d, column %d; keep one of them", line, column)
			continue
		}
		first[m.Key.Text] = m.Key
		unique = append(unique, m)
	}
	return unique
}

// keep stores one member under its key, or adds what is wrong with the key.
func (o *Object) keep(m Member, known []string) {
	key, path := m.Key.Text, o.Join(o.path, m.Key.Text)
	switch {
	case slices.Contains(known, key):
		switch m.Value.Kind {
		case KindNull:
			o.Errorf(RuleNull, m.Value, path, "null is not a value; leave the key out")
			o.values[key] = nil
		case unread:
			o.values[key] = nil
		default:
			o.values[key] = m.Value
		}
		return
	case strings.HasPrefix(key, ignoredPrefix):
		return
	}
	meant, sameWord := closest(key, known)
	switch {
	case meant == "":
		o.Errorf(RuleUnknownKey, m.Key, path, "unknown key; remove it, or begin it with %q to have it ignored", ignoredPrefix)
		return
	case sameWord:
		o.Errorf(RuleKeySpelling, m.Key, path, "keys are matched exactly; write it as %q", meant)
	default:
		o.Errorf(RuleUnknownKey, m.Key, path, "unknown key; did you mean %q?", meant)
	}
	// Most likely this is the key: reporting it as missing as well would be
	// noise.
	if _, there := o.values[meant]; !there {
		o.values[meant] = nil
	}
}

// Has reports whether the object has key, also if its value is null or
// unreadable.
func (o *Object) Has(key string) bool {
	_, there := o.values[key]
	return there
}

// At returns the place for a finding about key: its value, or the object itself if the
// key is missing or has no value.
func (o *Object) At(key string) *Value {
	if v := o.values[key]; v != nil {
		return v
	}
	return o.node
}

// IsCut reports whether the text breaks off in the object: it may have had any key.
func (o *Object) IsCut() bool { return o.node.cut }

// Need adds an error if key is missing; why says what it is for.
func (o *Object) Need(key, why string) {
	if !o.Has(key) && !o.node.cut {
		o.Errorf(RuleMissing, o.node, o.Join(o.path, key), "the key is missing; %s", why)
	}
}

// Member opens the object at key as [Document.Object] does. It returns nil if the key
// is missing or has no value.
func (o *Object) Member(key string, known []string) *Object {
	v := o.values[key]
	if v == nil {
		return nil
	}
	return o.Object(v, o.Join(o.path, key), known)
}

// Get returns the value of key if it is there and of kind k. Another kind is a finding.
func (o *Object) Get(key string, k Kind) (v *Value, ok bool) {
	v = o.values[key]
	if v == nil {
		return nil, false
	}
	if v.Kind != k {
		o.Errorf(RuleType, v, o.Join(o.path, key), "want %s, got %s", k, v.Kind)
		return nil, false
	}
	return v, !v.Spoilt
}

// Text returns the string at key as parser reads it; the parser's error becomes a
// finding of rule.
func Text[T any](o *Object, key string, rule Rule, parser func(string) (T, error)) (value T, there bool) {
	n, ok := o.Get(key, KindString)
	if !ok {
		return value, false
	}
	value, err := parser(n.Text)
	if err != nil {
		o.Errorf(rule, n, o.Join(o.path, key), "%v", err)
		var zero T
		return zero, false
	}
	return value, true
}

// maxShownNumber is too short for a secret.
const maxShownNumber = 12

// IntIn returns the whole number at key, from low to high, and 0 if it is
// missing or not valid.
func (o *Object) IntIn(key string, rule Rule, low, high int64) int64 {
	v, ok := o.Get(key, KindNumber)
	if !ok {
		return 0
	}
	value, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil || value < low || value > high {
		got := v.Text
		if len(got) > maxShownNumber {
			got = fmt.Sprintf("one of %d characters", len(got))
		}
		o.Errorf(rule, v, o.Join(o.path, key), "write a whole number from %d to %d, not %s", low, high, got)
		return 0
	}
	return value
}

// Join appends a key to a path. A key that is not shaped like one may be
// anything, even a misplaced secret, and is not repeated.
func (d *Document) Join(path, key string) string {
	if !d.isKeyShaped(key) {
		key = fmt.Sprintf("(a key of %d bytes)", len(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// maxShownKey is longer than the keys of any document and shorter than every token.
const maxShownKey = 40

// isKeyShaped reports whether key may be shown: letters, digits, hyphens, dots and
// underscores, beginning with a letter or underscore, and not as long as a token.
func (d *Document) isKeyShaped(key string) bool {
	secret := d.format.SecretPrefix
	if key == "" || len(key) > maxShownKey || secret != "" && strings.HasPrefix(key, secret) {
		return false
	}
	for i := range len(key) {
		b := key[i]
		if !isWord(b) && (b != '-' && b != '.' || i == 0) || i == 0 && b >= '0' && b <= '9' {
			return false
		}
	}
	return true
}

// isWord reports whether b is a letter, a digit or an underscore.
func isWord(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_'
}

// closest returns the known key that key most likely stands for, "" for none.
// sameWord reports whether they differ in case and separators only.
func closest(key string, known []string) (meant string, sameWord bool) {
	if len(key) > maxShownKey {
		return "", false
	}
	separators := strings.NewReplacer("_", "", "-", "", ".", "", " ", "")
	for _, k := range known {
		if strings.EqualFold(separators.Replace(k), separators.Replace(key)) {
			return k, true
		}
	}
	return typo.Closest(key, known), false
}
