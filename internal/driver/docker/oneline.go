package docker

import (
	"strings"
	"unicode"
)

// OneLine returns text of others in one line of at most limit bytes: blanks and
// line breaks become one blank, control characters go.
func OneLine(text string, limit int) string {
	if len(text) > 16*limit { // enough words, whatever goes
		text = text[:16*limit]
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= limit {
		return text
	}
	const mark = "…"
	return strings.ToValidUTF8(text[:max(0, limit-len(mark))], "") + mark
}
