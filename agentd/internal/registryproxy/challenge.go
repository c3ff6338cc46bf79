package registryproxy

import (
	"net/http"
	"strings"
)

// challenge is one challenge of a WWW-Authenticate header.
type challenge struct {
	scheme string // lower case
	params map[string]string
}

// maxChallenges bounds what is read of an answer's challenges.
const maxChallenges = 8

// parseChallenges reads all WWW-Authenticate headers (RFC 9110, section 11.6.1).
// It stops reading a header where it does not follow the grammar.
func parseChallenges(h http.Header) []challenge {
	var out []challenge
	for _, text := range h.Values("WWW-Authenticate") {
		for text != "" && len(out) < maxChallenges {
			var c challenge
			c, text = nextChallenge(text)
			if c.scheme == "" {
				break
			}
			out = append(out, c)
		}
	}
	return out
}

func nextChallenge(text string) (challenge, string) {
	text = strings.TrimLeft(text, " \t,")
	scheme, rest := cutWord(text)
	c := challenge{scheme: strings.ToLower(scheme), params: map[string]string{}}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		name, after := cutWord(rest)
		after = strings.TrimLeft(after, " \t")
		if name == "" || !strings.HasPrefix(after, "=") {
			return c, rest // the end, or the next scheme
		}
		value, after, ok := cutValue(strings.TrimLeft(after[1:], " \t"))
		if !ok {
			return c, ""
		}
		if name = strings.ToLower(name); c.params[name] == "" {
			c.params[name] = value
		}
		rest = after
	}
}

// cutWord cuts a token of RFC 9110 off text.
func cutWord(text string) (word, rest string) {
	for i := range len(text) {
		if !isTokenByte(text[i]) {
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// cutValue cuts a token or a quoted string off text.
func cutValue(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		value, rest = cutWord(text)
		return value, rest, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

func isTokenByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}
