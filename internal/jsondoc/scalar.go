package jsondoc

import (
	"bytes"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"
)

func (rd *reader) number() *Value {
	n := &Value{Kind: KindNumber, off: rd.pos}
	for rd.pos < len(rd.src) && bytes.IndexByte([]byte("+-.eE0123456789"), rd.src[rd.pos]) >= 0 {
		rd.pos++
	}
	n.end = rd.pos
	if !json.Valid(rd.src[n.off:n.end]) {
		rd.errorf(RuleSyntax, n.off, "not a number; write it as in 12, -3 or 1.5e9, without leading zeros")
		return nil
	}
	n.Text = string(rd.src[n.off:n.end])
	return n
}

// str reads a string. Mistakes inside it spoil the string, not the document,
// except for the missing end.
func (rd *reader) str() *Value {
	n := &Value{Kind: KindString, off: rd.pos}
	spoil := func(rule Rule, off int, format string, args ...any) {
		if !n.Spoilt {
			rd.errorf(rule, off, format, args...)
		}
		n.Spoilt = true
	}
	var out []byte
	for rd.pos++; rd.pos < len(rd.src); {
		b := rd.src[rd.pos]
		switch {
		case b == '"':
			rd.pos++
			n.end, n.Text = rd.pos, string(out)
			n.Spoilt = n.Spoilt || !utf8.Valid(out)
			return n
		case b == '\n':
			// A string never goes over a line end, so the quote is missing here
			// and not wherever the next one happens to be.
			rd.errorf(RuleSyntax, n.off, `this string has no end on its line; the closing " is missing`)
			return nil
		case b == 0:
			spoil(RuleEncoding, rd.pos, "the string holds a NUL byte; remove it")
			rd.pos++
		case b < 0x20:
			spoil(RuleSyntax, rd.pos, "the string holds the control character 0x%02x; write it as \\u%04x or remove it", b, b)
			rd.pos++
		case b == '\\':
			out = rd.escape(out, spoil)
		default:
			out = append(out, b)
			rd.pos++
		}
	}
	rd.errorf(RuleSyntax, n.off, `this string has no end; the closing " is missing`)
	return nil
}

func (rd *reader) escape(out []byte, spoil func(Rule, int, string, ...any)) []byte {
	at := rd.pos
	rd.pos++
	b := rd.peek()
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), b); i >= 0 && b != 0 {
		rd.pos++
		return append(out, "\"\\/\b\f\n\r\t"[i])
	}
	if b != 'u' {
		spoil(RuleSyntax, at, `"\" before %s means nothing in JSON; write a backslash as "\\"`, rd.here())
		return out // what follows is read as itself
	}
	r, ok := rd.hex4()
	if !ok {
		spoil(RuleSyntax, at, `four hex digits must follow "\u"`)
		return out
	}
	if utf16.IsSurrogate(r) {
		if rd.peek() == '\\' && rd.pos+1 < len(rd.src) && rd.src[rd.pos+1] == 'u' {
			back := rd.pos
			rd.pos++
			if low, ok := rd.hex4(); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return utf8.AppendRune(out, pair)
				}
			}
			rd.pos = back
		}
		spoil(RuleEncoding, at, "half of a surrogate pair is not a character; write both parts, or the character itself")
		return out
	}
	if r == 0 {
		spoil(RuleEncoding, at, "the string holds a NUL character; remove it")
		return out
	}
	return utf8.AppendRune(out, r)
}

// hex4 reads the "u" of an escape and the four digits after it.
func (rd *reader) hex4() (r rune, ok bool) {
	rd.pos++
	if rd.pos+4 > len(rd.src) {
		return 0, false
	}
	for _, b := range rd.src[rd.pos : rd.pos+4] {
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	rd.pos += 4
	return r, true
}
