package main

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a word in lower case, "%" for a verb of a format string, or "" for punctuation that ends a phrase.
type token struct {
	word         string
	line, column int // from 1; the column counts bytes
}

// hit is a place with words that a rule replaces.
type hit struct {
	line, column int
	found        string // the words, in lower case
	write        string // what to write in their place
	text         string // the line
}

// find returns what the rules replace in a file's name (as line 1, column 1) and in its text.
func find(name string, data []byte) []hit {
	hits := match(scan([]string{name}), name)
	if bytes.IndexByte(data, 0) >= 0 {
		data = nil // a binary file has no text, and lines of any length
	}
	lines := strings.Split(string(data), "\n")
	for i := range hits {
		hits[i].line, hits[i].column, hits[i].text = 1, 1, name
		hits[i].write += " (in the file's name)"
	}
	for _, h := range match(scan(lines), name) {
		h.text = lines[h.line-1]
		hits = append(hits, h)
	}
	return hits
}

// scan splits the lines into tokens. A phrase may continue in the next line, behind the marks of a comment or of a list.
func scan(lines []string) []token {
	var tokens []token
	for i, line := range lines {
		at := 0
		rest := strings.TrimLeft(line, " \t")
		if trimmed := strings.TrimLeft(rest, "/#>|"); trimmed != rest && strings.HasPrefix(trimmed, " ") {
			rest = trimmed
		}
		at = len(line) - len(rest)
		for at < len(line) {
			tokens, at = next(tokens, line, at, i+1)
		}
		if strings.TrimSpace(rest) == "" {
			tokens = append(tokens, token{line: i + 1, column: 1}) // a paragraph ends
		}
	}
	return tokens
}

// next appends the token at the offset, if one starts there, and returns the offset behind it.
func next(tokens []token, line string, at, number int) (list []token, end int) {
	r, size := utf8.DecodeRuneInString(line[at:])
	end = at + size
	mark := token{line: number, column: at + 1}
	switch {
	case unicode.IsLetter(r):
		word, size := firstWord(line[at:])
		mark.word = strings.ToLower(word)
		return append(tokens, mark), at + size
	case r == '\\' && end < len(line):
		_, size = utf8.DecodeRuneInString(line[end:])
		return append(tokens, mark), end + size // an escape such as \n, whose letter belongs to no word
	case r == '%':
		if n := verb(line[at:]); n > 0 {
			mark.word = "%"
			return append(tokens, mark), at + n
		}
		return append(tokens, mark), end
	case unicode.IsSpace(r), strings.ContainsRune("-_*`", r), unicode.IsDigit(r):
		return tokens, end
	}
	return append(tokens, mark), end
}

// verb returns the length of the verb of a format string that s starts with, or 0.
func verb(s string) int {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case strings.IndexByte("+-# .0123456789[]*", c) >= 0:
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			return i + 1
		default:
			return 0
		}
	}
	return 0
}

// firstWord returns the letters up to where the next word of an identifier starts: fooBar is foo and Bar, HTTPServer is HTTP and Server.
func firstWord(s string) (word string, size int) {
	const longest = 100 // letters of a word that are looked at
	runes := []rune(s[:min(len(s), longest*utf8.UTFMax)])
	n := 1
	for n < len(runes) && unicode.IsLetter(runes[n]) {
		startsWord := unicode.IsUpper(runes[n]) &&
			(unicode.IsLower(runes[n-1]) || n+1 < len(runes) && unicode.IsLower(runes[n+1]) && unicode.IsUpper(runes[n-1]))
		if startsWord {
			break
		}
		n++
	}
	word = string(runes[:n])
	return word, len(word)
}

// match returns the places where a rule applies, from first to last.
func match(tokens []token, name string) []hit {
	test := strings.HasSuffix(name, "_test.go")
	var hits []hit
	for i := range tokens {
		for _, r := range starting[tokens[i].word] {
			n := length(r.phrase, tokens[i:])
			if n == 0 || r.tests && !test || excepted(r, tokens, i, n) {
				continue
			}
			hits = append(hits, hit{line: tokens[i].line, column: tokens[i].column, found: r.name(tokens[i : i+n]), write: r.write})
			break
		}
	}
	return hits
}

// name returns the words of the place, and for those between the ends of a long phrase only an ellipsis.
func (r *rule) name(tokens []token) string {
	var words []string
	for _, t := range tokens {
		if t.word != "" {
			words = append(words, t.word)
		}
	}
	for _, element := range r.phrase {
		if element[0] == "..." {
			return words[0] + " ... " + words[len(words)-1]
		}
	}
	return strings.Join(words, " ")
}

// excepted reports whether the n tokens from i are part of one of the rule's exceptions.
func excepted(r *rule, tokens []token, i, n int) bool {
	const longest = 4 // words of an exception before the phrase
	for start := max(0, i-longest); start <= i; start++ {
		for _, phrase := range r.except {
			if m := length(phrase, tokens[start:]); m > 0 && start+m >= i+n {
				return true
			}
		}
	}
	return false
}

// length returns the number of tokens that the phrase takes at the start of the list, or 0 if it is not there.
func length(phrase [][]string, tokens []token) int {
	at := 0
	for i, element := range phrase {
		if element[0] == "..." {
			if n := onLine(phrase[i+1:], tokens, at); n > 0 {
				return n
			}
			return 0
		}
		if at >= len(tokens) || !contains(element, tokens[at].word) {
			return 0
		}
		at++
	}
	return at
}

// onLine looks for the rest of a phrase behind the offset, on the line of the token before it, and returns the number of tokens from
// the start of the list to its end, or 0.
func onLine(rest [][]string, tokens []token, at int) int {
	for i := at; i < len(tokens) && tokens[i].line == tokens[at-1].line; i++ {
		if tokens[i-1].word == "not" { // "not found" is the name of an error
			continue
		}
		if n := length(rest, tokens[i:]); n > 0 {
			return i + n
		}
	}
	return 0
}

func contains(element []string, word string) bool {
	for _, w := range element {
		if w == word || w == "*" && word != "" {
			return true
		}
	}
	return false
}
