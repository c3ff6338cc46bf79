package jsondoc

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/felhom/felhom-golden/internal/termtext"
)

// A finding shows only allowed parts of the document: keys that look like keys, and values
// that are public in the format. A placeholder replaces everything else, also what could not
// be read as JSON.

// hidden stands for a part of the source that is not shown.
const hidden = '…'

// MinHiddenSecret is the least length of a secret that is hidden in messages and
// public values. A shorter one protects nothing, and hiding every "a" would make
// the messages unreadable.
const MinHiddenSecret = 8

// keepSecrets remembers the scalars below n whose key has a name for secrets.
func (d *Document) keepSecrets(n *Value) {
	if n == nil {
		return
	}
	for _, item := range n.Items {
		d.keepSecrets(item)
	}
	for _, m := range n.Members {
		key := strings.ToLower(m.Key.Text)
		isSecret := strings.Contains(key, "token") || strings.Contains(key, "secret") || strings.Contains(key, "passw")
		if isSecret && len(m.Value.Text) >= MinHiddenSecret {
			d.secrets = append(d.secrets, m.Value.Text)
		}
		d.keepSecrets(m.Value)
	}
}

// hide replaces what must not be shown in text: secrets that are elsewhere in
// the document, and words that begin like one.
func (d *Document) hide(text string) string {
	for _, secret := range d.secrets {
		text = strings.ReplaceAll(text, secret, Redacted)
	}
	for d.format.SecretPrefix != "" {
		before, after, found := strings.Cut(text, d.format.SecretPrefix)
		if !found {
			break
		}
		end := strings.IndexFunc(after, func(c rune) bool { return c > unicode.MaxASCII || !isWord(byte(c)) })
		if end < 0 {
			end = len(after)
		}
		text = before + Redacted + after[end:]
	}
	return text
}

// visible returns for every byte of the source whether it may be shown.
func (d *Document) visible() []bool {
	show := make([]bool, len(d.src))
	for i, b := range d.src {
		show[i] = strings.IndexByte(" \t\r\n{}[]:,", b) >= 0
	}
	if d.root != nil {
		d.mark(show, d.root, "")
	}
	return show
}

func (d *Document) mark(show []bool, v *Value, path string) {
	set := func(v *Value, to bool) {
		for i := v.off; i < v.end; i++ {
			show[i] = to
		}
	}
	for _, item := range v.Items {
		d.mark(show, item, path) // an item is as public as its list
	}
	for _, m := range v.Members {
		set(m.Key, d.isKeyShaped(m.Key.Text) && d.hide(m.Key.Text) == m.Key.Text)
		d.mark(show, m.Value, d.Join(path, m.Key.Text))
	}
	switch v.Kind {
	case KindObject, KindArray:
	case KindNull, KindBool:
		set(v, true)
	default:
		set(v, d.format.Public != nil && d.format.Public(path, v.Text) && d.hide(v.Text) == v.Text)
	}
}

// maxShownLine is how many characters of a source line are shown.
const maxShownLine = 120

// sourceLine returns the line of the finding's place as it may be shown, and
// the column of the caret in it, 0-based, in characters.
func (d *Document) sourceLine(show []bool, line, column int) (text string, caret int) {
	line = min(max(line, 1), len(d.lineStarts))
	start := d.lineStarts[line-1]
	end := len(d.src)
	if n := bytes.IndexByte(d.src[start:], '\n'); n >= 0 {
		end = start + n
	}
	at := start + column - 1
	caret = -1
	var out []rune
	for i := start; i < end; {
		c, size := utf8.DecodeRune(d.src[i:end])
		switch {
		case !show[i]:
			c = hidden
		case c == '\t' || c == '\r':
			c = ' '
		case !termtext.IsSafe(c):
			c = utf8.RuneError // control characters and such that turn text around
		}
		if c == hidden {
			// One placeholder stands for a run of hidden words.
			if last := lastNonBlank(out); last >= 0 && out[last] == hidden {
				out = out[:last]
			}
		}
		out = append(out, c)
		if caret < 0 && i+size > at {
			caret = len(out) - 1
		}
		i += size
	}
	if caret < 0 {
		caret = len(out)
	}
	caret = min(caret, len(out))
	if len(out) > maxShownLine {
		from := max(min(caret-maxShownLine/2, len(out)-maxShownLine), 0)
		to := min(from+maxShownLine, len(out))
		cutAfter := to < len(out)
		out, caret = slices.Clone(out[from:to]), caret-from
		if from > 0 {
			out[0] = hidden
		}
		if cutAfter {
			out[len(out)-1] = hidden
		}
	}
	return strings.TrimRight(string(out), " "), caret
}

func lastNonBlank(text []rune) int {
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] != ' ' {
			return i
		}
	}
	return -1
}

// Format returns the findings as they are printed: a line
// "file:line:column: error: path: message" each, and below it the source line
// with a caret under the place. Only keys and values that are known not to be
// secret are shown of the source.
func (fs Findings) Format(file string) string {
	show := fs.doc.visible()
	var b strings.Builder
	for _, f := range fs.List {
		fmt.Fprintf(&b, "%s:%s\n", file, f)
		if text, caret := fs.doc.sourceLine(show, f.Line, f.Column); text != "" {
			fmt.Fprintf(&b, "    %s\n    %s^\n", text, strings.Repeat(" ", caret))
		}
	}
	return b.String()
}
