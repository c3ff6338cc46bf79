package contract

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/felhom/felhom-golden/internal/termtext"
)

// What a finding shows of the document goes by allow-list: keys that are shaped
// like keys, and values at publicPaths. Everything else is a placeholder, what
// could not be read as JSON included.

// hidden stands for a part of the source that is not shown.
const hidden = '…'

// publicPaths are the places whose values may be shown.
func publicPaths() []string {
	return []string{
		keySchemaVersion, keyProfile, keyHubURL, keyHostID, keyGuestID, keyEndpoint,
		keyPinSPKI, keyPinSPKINext, keyPinLeaf, keyPinLeafNext,
		keyRegistryAccess, keyMirror, keyImage, keyManifestDigest, keyConfigDigest, keyReadyWait,
		keyRegistry + "." + keyRegistryHost, keyRegistry + "." + keyRegistryUser,
		keyContainer + "." + keyContainerPorts, keyContainer + "." + keyContainerVols,
		keyContainer + "." + keyContainerHosts, keyContainer + "." + keyContainerMemory, keyContainer + "." + keyContainerNet,
	}
}

// minHiddenSecret is the length from which on a secret is searched for in
// messages and public values. A shorter one protects nothing, and hiding every "a"
// would make the messages unreadable.
const minHiddenSecret = 8

// keepSecrets remembers the scalars below n whose key says that they are secret.
func (r *report) keepSecrets(n *node) {
	if n == nil {
		return
	}
	for _, item := range n.items {
		r.keepSecrets(item)
	}
	for _, m := range n.members {
		key := strings.ToLower(m.key.text)
		isSecret := strings.Contains(key, "token") || strings.Contains(key, "secret") || strings.Contains(key, "passw")
		if isSecret && len(m.value.text) >= minHiddenSecret {
			r.secrets = append(r.secrets, m.value.text)
		}
		r.keepSecrets(m.value)
	}
}

// hide replaces what must not be shown in text: secrets that are elsewhere in
// the document, and whatever looks like a token of felhom-agentd.
func (r *report) hide(text string) string {
	for _, secret := range r.secrets {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	for {
		before, after, found := strings.Cut(text, tokenPrefix)
		if !found {
			return text
		}
		end := strings.IndexFunc(after, func(c rune) bool { return c != '_' && (c > unicode.MaxASCII || !isAlnum(byte(c))) })
		if end < 0 {
			end = len(after)
		}
		text = before + redacted + after[end:]
	}
}

// visible returns for every byte of the source whether it may be shown.
func (r *report) visible(root *node) []bool {
	show := make([]bool, len(r.src))
	for i, b := range r.src {
		show[i] = strings.IndexByte(" \t\r\n{}[]:,", b) >= 0
	}
	if root != nil {
		r.mark(show, root, "", publicPaths())
	}
	return show
}

func (r *report) mark(show []bool, n *node, path string, public []string) {
	set := func(n *node, to bool) {
		for i := n.off; i < n.end; i++ {
			show[i] = to
		}
	}
	for _, item := range n.items {
		r.mark(show, item, path, public) // an item is as public as its list
	}
	for _, m := range n.members {
		set(m.key, isKeyShaped(m.key.text) && r.hide(m.key.text) == m.key.text)
		at := joinPath(path, m.key.text)
		if path == "" {
			at = m.key.text
		}
		r.mark(show, m.value, at, public)
	}
	if n.kind == kindObject || n.kind == kindArray {
		return
	}
	ok := slices.Contains(public, path) && r.hide(n.text) == n.text
	if path == keyHubURL || path == keyEndpoint || path == keyMirror || path == keyRegistry+"."+keyRegistryHost {
		ok = ok && !strings.ContainsAny(n.text, "@?") // a password or key in a URL
	}
	if path == keyRegistry+"."+keyRegistryUser {
		ok = ok && !strings.Contains(n.text, ":") // user and password in one
	}
	set(n, ok || n.kind == kindNull || n.kind == kindBool)
}

// maxShownLine is how many characters of a source line are shown.
const maxShownLine = 120

// sourceLine returns the line of the finding's place as it may be shown, and
// the column of the caret in it, 0-based, in characters.
func (r *report) sourceLine(show []bool, line, column int) (text string, caret int) {
	line = min(max(line, 1), len(r.lineStarts))
	start := r.lineStarts[line-1]
	end := len(r.src)
	if n := bytes.IndexByte(r.src[start:], '\n'); n >= 0 {
		end = start + n
	}
	at := start + column - 1
	caret = -1
	var out []rune
	for i := start; i < end; {
		c, size := utf8.DecodeRune(r.src[i:end])
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
// with a caret under the place. src is what was parsed. Only keys and values
// that are known not to be secret are shown of it.
func (fs Findings) Format(file string, src []byte) string {
	r := newReport(nil)
	var show []bool
	if len(src) <= MaxBootstrapBytes {
		r = newReport(src)
		root, _ := readJSON(r) // for the places of keys and values only
		show = r.visible(root)
	}
	var b strings.Builder
	for _, f := range fs {
		fmt.Fprintf(&b, "%s:%s\n", file, f)
		if len(r.src) == 0 {
			continue
		}
		text, caret := r.sourceLine(show, f.Line, f.Column)
		if text == "" {
			continue
		}
		fmt.Fprintf(&b, "    %s\n    %s^\n", text, strings.Repeat(" ", caret))
	}
	return b.String()
}
