package contract

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"
)

// encoding/json forgets where a key was, takes duplicate and other-case keys
// in silence and gives up at the first mistake. This reader keeps positions,
// keeps every member, and continues after mistakes that leave no doubt about
// what was meant. What it accepts without a finding, json.Valid accepts too.

// maxDepth is far above the three levels of any document here.
const maxDepth = 32

type kind int

const (
	kindObject kind = iota
	kindArray
	kindString
	kindNumber
	kindBool
	kindNull
	kindUnread // it could not be read, and has its finding
)

func (k kind) String() string {
	return [...]string{"an object", "a list", "a string", "a number", "true or false", "null", "nothing readable"}[k]
}

// node is one JSON value and its place, src[off:end].
type node struct {
	kind     kind
	off, end int
	text     string // of a string: decoded; of a number, true and false: as written
	members  []member
	items    []*node
	spoilt   bool // a string with a finding of its own: no further rule looks at it
	cut      bool // the text became unreadable in here
}

type member struct{ key, value *node }

type reader struct {
	*report
	pos int
}

// readJSON reads one document. The tree holds all that was read before the
// text became unreadable; it is nil when there was nothing. whole reports
// whether the end of the document was reached.
func readJSON(r *report) (root *node, whole bool) {
	rd := &reader{report: r}
	if bytes.HasPrefix(r.src, []byte("\xef\xbb\xbf")) {
		r.errorf(RuleEncoding, 0, "", "the file begins with a byte order mark; save it as UTF-8 without one")
		rd.pos = 3
	}
	rd.checkUTF8()
	rd.space()
	if rd.pos == len(r.src) {
		r.errorf(RuleSize, rd.pos, "", "the document is empty")
		return nil, false
	}
	root = rd.value(1)
	r.keepSecrets(root)
	if root == nil || root.cut {
		return root, false
	}
	rd.space()
	if rd.pos < len(r.src) {
		r.errorf(RuleTrailing, rd.pos, "", "there is more after the end of the document, beginning with %s; remove it", rd.here())
	}
	return root, true
}

// checkUTF8 reports the first bytes that are not UTF-8.
func (rd *reader) checkUTF8() {
	for i := 0; i < len(rd.src); {
		r, n := utf8.DecodeRune(rd.src[i:])
		if r == utf8.RuneError && n == 1 {
			rd.errorf(RuleEncoding, i, "", "byte 0x%02x is not UTF-8; save the file as UTF-8", rd.src[i])
			return
		}
		i += n
	}
}

// space skips white space, and comments after reporting them.
func (rd *reader) space() {
	for rd.pos < len(rd.src) {
		switch rest := rd.src[rd.pos:]; {
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\n' || rest[0] == '\r':
			rd.pos++
		case rest[0] == '#' || bytes.HasPrefix(rest, []byte("//")):
			rd.errorf(RuleSyntax, rd.pos, "", "JSON has no comments; remove it, or give it a key that begins with %q", ignoredPrefix)
			if n := bytes.IndexByte(rest, '\n'); n >= 0 {
				rd.pos += n
			} else {
				rd.pos = len(rd.src)
			}
		default:
			return
		}
	}
}

// here names what is at the reading position.
func (rd *reader) here() string {
	if rd.pos >= len(rd.src) {
		return "the end of the file"
	}
	switch b := rd.src[rd.pos]; {
	case b == '"':
		return "a string"
	case b == 0:
		return "a NUL byte"
	case b == '\n' || b == '\r':
		return "the end of the line"
	case b < 0x20 || b >= 0x7f:
		return fmt.Sprintf("byte 0x%02x", b)
	default:
		return fmt.Sprintf("%q", b)
	}
}

func (rd *reader) peek() byte {
	if rd.pos < len(rd.src) {
		return rd.src[rd.pos]
	}
	return 0
}

// value reads one value at the reading position, nil after a mistake that it
// cannot read past.
func (rd *reader) value(depth int) *node {
	if depth > maxDepth {
		rd.errorf(RuleDepth, rd.pos, "", "nested more than %d levels deep; no document here needs more than 3", maxDepth)
		return nil
	}
	switch b := rd.peek(); {
	case b == '{':
		return rd.object(depth)
	case b == '[':
		return rd.array(depth)
	case b == '"':
		return rd.str()
	case b == '-' || b >= '0' && b <= '9':
		return rd.number()
	case b == '\'':
		rd.errorf(RuleSyntax, rd.pos, "", `strings stand in double quotes; write " in place of '`)
		return nil
	}
	for _, word := range []struct {
		text string
		kind kind
	}{{"true", kindBool}, {"false", kindBool}, {"null", kindNull}} {
		if bytes.HasPrefix(rd.src[rd.pos:], []byte(word.text)) {
			n := &node{kind: word.kind, off: rd.pos, end: rd.pos + len(word.text), text: word.text}
			rd.pos = n.end
			return n
		}
	}
	rd.errorf(RuleSyntax, rd.pos, "", "want a value, got %s", rd.here())
	return nil
}

func (rd *reader) object(depth int) *node {
	n := &node{kind: kindObject, off: rd.pos, cut: true}
	rd.pos++
	rd.space()
	for first := true; ; first = false {
		if rd.peek() == '}' && rd.pos < len(rd.src) {
			break
		}
		if !first && !rd.separator('}') {
			n.end = rd.pos
			return n
		}
		if rd.peek() == '}' {
			break // a trailing comma, already reported
		}
		if rd.peek() != '"' {
			if rd.pos == len(rd.src) {
				rd.errorf(RuleSyntax, rd.pos, "", "the file ends inside an object; it was cut off, or a \"}\" is missing")
			} else {
				rd.errorf(RuleSyntax, rd.pos, "", "want a key in double quotes, got %s", rd.here())
			}
			n.end = rd.pos
			return n
		}
		m := member{key: rd.str()}
		if m.key == nil {
			n.end = rd.pos
			return n
		}
		if m.value = rd.memberValue(m.key.text, depth); m.value == nil {
			n.end = rd.pos
			return n
		}
		n.members = append(n.members, m)
		if m.value.cut {
			n.end = rd.pos
			return n
		}
		rd.space()
	}
	rd.pos++
	n.end, n.cut = rd.pos, false
	return n
}

// memberValue reads ":" and the value of a member. A key is worth keeping even
// when its value cannot be read; but a string without ":" after it need not be
// a key: it may be a secret that a stray character before it made one.
func (rd *reader) memberValue(key string, depth int) *node {
	rd.space()
	if rd.peek() == ':' {
		rd.pos++
		rd.space()
		if value := rd.value(depth + 1); value != nil {
			return value
		}
	} else {
		rd.errorf(RuleSyntax, rd.pos, "", `want ":" after the key, got %s`, rd.here())
		if !slices.Contains(slices.Concat(bootstrapKeys(), registryKeys(), containerKeys()), key) {
			return nil
		}
	}
	return &node{kind: kindUnread, off: rd.pos, end: rd.pos, spoilt: true, cut: true}
}

func (rd *reader) array(depth int) *node {
	n := &node{kind: kindArray, off: rd.pos, cut: true}
	rd.pos++
	rd.space()
	for first := true; ; first = false {
		if rd.peek() == ']' {
			break
		}
		if !first && !rd.separator(']') {
			n.end = rd.pos
			return n
		}
		if rd.peek() == ']' {
			break
		}
		item := rd.value(depth + 1)
		if item == nil {
			n.end = rd.pos
			return n
		}
		n.items = append(n.items, item)
		if item.cut {
			n.end = rd.pos
			return n
		}
		rd.space()
	}
	rd.pos++
	n.end, n.cut = rd.pos, false
	return n
}

// separator reads the "," between two members or items. A missing one and one
// too many are reported and read past: both leave no doubt.
func (rd *reader) separator(closing byte) bool {
	at := rd.pos
	if rd.peek() == ',' {
		rd.pos++
		rd.space()
		if rd.peek() == closing {
			rd.errorf(RuleSyntax, at, "", "the \",\" before the %q is one too many; remove it", closing)
		}
		return true
	}
	if rd.peek() == '"' {
		rd.errorf(RuleSyntax, at, "", `a "," is missing before this string`)
		return true
	}
	if at == len(rd.src) {
		rd.errorf(RuleSyntax, at, "", "the file ends before the %q; it was cut off, or a %q is missing", closing, closing)
	} else {
		rd.errorf(RuleSyntax, at, "", "want \",\" or %q, got %s", closing, rd.here())
	}
	return false
}
