// Package termtext makes text from guests, registries, archives and other programs harmless where people read it: on
// terminals, in logs and in one-line reports. Call [Line] for a message, [Lines] for text of several lines, [Name] for
// a name, whose every character counts, and [JSON] for what encoding/json made. All of them keep the characters that
// are safe ([IsSafe]), and replace the others by the same escapes as the %q of package fmt, so that the same bytes look
// the same everywhere.
package termtext

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// mark shows that text was cut.
const mark = "…"

// IsSafe reports whether a terminal shows r and does nothing else. Letters, marks, numbers, punctuation, symbols and
// the ASCII space are safe. Controls of both kinds, line separators, other spaces, invisible characters and those that
// change the direction of text are not.
func IsSafe(r rune) bool { return unicode.IsPrint(r) }

// Line returns the text as one line of at most limit characters, a mark at its end if it was cut. It replaces each run of white space,
// line breaks too, by one space, and removes it at both ends. A limit of 0 means no limit.
func Line(text string, limit int) string {
	w := writer{limit: limit}
	space := false
	for len(text) > 0 && !w.full {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case unicode.IsSpace(r):
			space = true
		default:
			if space && w.runes > 0 {
				w.add(" ")
			}
			space = false
			w.add(escape(r, text[:size]))
		}
		text = text[size:]
	}
	return w.String()
}

// Lines keeps line breaks and tabs, and returns everything else as [Name] does. It removes a carriage return before a
// line break.
func Lines(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return each(text, func(r rune) bool { return r == '\n' || r == '\t' })
}

// Name returns the text with each character that is not safe in its escaped form: a line break is \n, a byte that is not UTF-8 is \xff.
func Name(text string) string { return each(text, func(rune) bool { return false }) }

// JSON returns data, which must be JSON as encoding/json makes it, with each character of its strings that is not safe in JSON's
// escaped form. Its value stays the same.
func JSON(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for _, r := range string(data) {
		switch {
		case r == '\n' || IsSafe(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = appendUnicode(appendUnicode(out, high), low)
		default:
			out = appendUnicode(out, r)
		}
	}
	return out
}

func appendUnicode(out []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(out, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// Cut returns the text if it has at most limit bytes, or else its start and a mark, with limit bytes in all. It ends between two
// characters.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := max(0, limit-len(mark))
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}

// Tail returns the text if it has at most limit bytes, or else a mark and its end, with limit bytes in all.
func Tail(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	start := len(text) - max(0, limit-len(mark))
	for start < len(text) && !utf8.RuneStart(text[start]) {
		start++
	}
	return mark + text[start:]
}

func each(text string, keep func(rune) bool) string {
	var w writer
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if keep(r) {
			w.add(text[:size])
		} else {
			w.add(escape(r, text[:size]))
		}
		text = text[size:]
	}
	return w.String()
}

// escape returns r, whose bytes are raw, as it is shown.
func escape(r rune, raw string) string {
	if r == utf8.RuneError && len(raw) == 1 {
		const digits = "0123456789abcdef"
		return `\x` + string(digits[raw[0]>>4]) + string(digits[raw[0]&15])
	}
	if IsSafe(r) {
		return raw
	}
	return strings.Trim(strconv.QuoteRuneToASCII(r), "'")
}

// writer takes pieces up to a number of characters. It never divides a piece, so that no escape is shown in part.
type writer struct {
	text         strings.Builder
	limit, runes int // 0 means no limit
	room         int // bytes of the text up to the last piece that leaves room for the mark
	full         bool
}

func (w *writer) add(piece string) {
	w.runes += utf8.RuneCountInString(piece)
	if w.full = w.limit > 0 && w.runes > w.limit; w.full {
		return
	}
	w.text.WriteString(piece)
	if w.runes < w.limit {
		w.room = w.text.Len()
	}
}

// String returns the text, and the mark in place of what did not fit.
func (w *writer) String() string {
	if !w.full {
		return w.text.String()
	}
	return strings.TrimRight(w.text.String()[:w.room], " ") + mark
}
