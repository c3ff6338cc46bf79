package jsondoc

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"
)

// The reader keeps every member, and continues after mistakes that leave no doubt
// about what was meant. What it accepts without a finding, json.Valid accepts too.

// maxDepth is far above the three levels of any document here.
const maxDepth = 32

// Kind is the JSON type of a value.
type Kind int

// The kinds.
const (
	KindObject Kind = iota
	KindArray
	KindString
	KindNumber
	KindBool
	KindNull
	unread // it could not be read, and has its finding
)

// String returns the kind as messages name it, such as "a list".
func (k Kind) String() string {
	return [...]string{"an object", "a list", "a string", "a number", "true or false", "null", "nothing readable"}[k]
}

// Value is one JSON value and its place.
type Value struct {
	Kind    Kind
	Text    string // of a string: decoded; of a number, true and false: as written
	Members []Member
	Items   []*Value
	Spoilt  bool // a string with a finding of its own: no further rule looks at it

	off, end int  // it is src[off:end]
	cut      bool // the text became unreadable in here
}

// Member is one key of an object and its value.
type Member struct{ Key, Value *Value }

type reader struct {
	*Document
	pos int
}

// read reads the root.
func (d *Document) read() {
	rd := &reader{Document: d}
	if bytes.HasPrefix(d.src, []byte("\xef\xbb\xbf")) {
		rd.errorf(RuleEncoding, 0, "the file begins with a byte order mark; save it as UTF-8 without one")
		rd.pos = 3
	}
	rd.checkUTF8()
	rd.space()
	if rd.pos == len(d.src) {
		rd.errorf(RuleSize, rd.pos, "the document is empty")
		return
	}
	d.root = rd.value(1)
	d.keepSecrets(d.root)
	if d.root == nil || d.root.cut {
		return
	}
	rd.space()
	if rd.pos < len(d.src) {
		rd.errorf(RuleTrailing, rd.pos, "there is more after the end of the document, beginning with %s; remove it", rd.here())
	}
}

// checkUTF8 reports the first bytes that are not UTF-8.
func (rd *reader) checkUTF8() {
	for i := 0; i < len(rd.src); {
		r, n := utf8.DecodeRune(rd.src[i:])
		if r == utf8.RuneError && n == 1 {
			rd.errorf(RuleEncoding, i, "byte 0x%02x is not UTF-8; save the file as UTF-8", rd.src[i])
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
			rd.errorf(RuleSyntax, rd.pos, "JSON has no comments; remove it, or give it a key that begins with %q", ignoredPrefix)
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
func (rd *reader) value(depth int) *Value {
	if depth > maxDepth {
		rd.errorf(RuleDepth, rd.pos, "nested more than %d levels deep; no document here needs more than 3", maxDepth)
		return nil
	}
	switch b := rd.peek(); {
	case b == '{':
		return rd.list(&Value{Kind: KindObject}, '}', depth)
	case b == '[':
		return rd.list(&Value{Kind: KindArray}, ']', depth)
	case b == '"':
		return rd.str()
	case b == '-' || b >= '0' && b <= '9':
		return rd.number()
	case b == '\'':
		rd.errorf(RuleSyntax, rd.pos, `strings stand in double quotes; write " in place of '`)
		return nil
	}
	for _, word := range []struct {
		text string
		kind Kind
	}{{"true", KindBool}, {"false", KindBool}, {"null", KindNull}} {
		if bytes.HasPrefix(rd.src[rd.pos:], []byte(word.text)) {
			n := &Value{Kind: word.kind, off: rd.pos, end: rd.pos + len(word.text), Text: word.text}
			rd.pos = n.end
			return n
		}
	}
	rd.errorf(RuleSyntax, rd.pos, "want a value, got %s", rd.here())
	return nil
}

// list reads the members or items of n up to the closing byte.
func (rd *reader) list(n *Value, closing byte, depth int) *Value {
	n.off, n.cut = rd.pos, true
	defer func() { n.end = rd.pos }()
	rd.pos++
	rd.space()
	for first := true; ; first = false {
		if !first && rd.peek() != closing && !rd.separator(closing) {
			return n
		}
		if rd.peek() == closing {
			break // also after a trailing comma, which is reported
		}
		next := rd.item
		if closing == '}' {
			next = rd.member
		}
		if !next(n, depth) {
			return n
		}
		rd.space()
	}
	rd.pos++
	n.cut = false
	return n
}

func (rd *reader) item(n *Value, depth int) (ok bool) {
	item := rd.value(depth + 1)
	if item == nil {
		return false
	}
	n.Items = append(n.Items, item)
	return !item.cut
}

func (rd *reader) member(n *Value, depth int) (ok bool) {
	switch {
	case rd.pos == len(rd.src):
		rd.errorf(RuleSyntax, rd.pos, "the file ends inside an object; it was cut off, or a \"}\" is missing")
		return false
	case rd.peek() != '"':
		rd.errorf(RuleSyntax, rd.pos, "want a key in double quotes, got %s", rd.here())
		return false
	}
	m := Member{Key: rd.str()}
	if m.Key == nil {
		return false
	}
	if m.Value = rd.memberValue(m.Key.Text, depth); m.Value == nil {
		return false
	}
	n.Members = append(n.Members, m)
	return !m.Value.cut
}

// memberValue reads ":" and the value of a member. A key is worth keeping even
// when its value cannot be read; but a string without ":" after it need not be
// a key: it may be a secret that a stray character before it made one.
func (rd *reader) memberValue(key string, depth int) *Value {
	rd.space()
	if rd.peek() == ':' {
		rd.pos++
		rd.space()
		if value := rd.value(depth + 1); value != nil {
			return value
		}
	} else {
		rd.errorf(RuleSyntax, rd.pos, `want ":" after the key, got %s`, rd.here())
		if !slices.Contains(rd.format.Keys, key) {
			return nil
		}
	}
	return &Value{Kind: unread, off: rd.pos, end: rd.pos, Spoilt: true, cut: true}
}

// separator reads the "," between two members or items. A missing one and one
// too many are reported and read past: both leave no doubt.
func (rd *reader) separator(closing byte) bool {
	at := rd.pos
	if rd.peek() == ',' {
		rd.pos++
		rd.space()
		if rd.peek() == closing {
			rd.errorf(RuleSyntax, at, "the \",\" before the %q is one too many; remove it", closing)
		}
		return true
	}
	if rd.peek() == '"' {
		rd.errorf(RuleSyntax, at, `a "," is missing before this string`)
		return true
	}
	if at == len(rd.src) {
		rd.errorf(RuleSyntax, at, "the file ends before the %q; it was cut off, or a %q is missing", closing, closing)
	} else {
		rd.errorf(RuleSyntax, at, "want \",\" or %q, got %s", closing, rd.here())
	}
	return false
}
