// Package apt reads and writes apt's sources. Call [Machine] and [Debian] for
// those of this machine, [Parse] for those of one file, [Format] to write those of
// a build or a guest, and [Client.Release] to fetch the signed index that says
// what an archive has now. It installs nothing and verifies no signature: apt
// itself does that, with the keyrings that are named here.
package apt

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/deb822"
)

// Source is one archive with the suites and components taken from it.
type Source struct {
	URI        string
	Suites     []string
	Components []string
	SignedBy   string // path of a keyring; "" is apt's trusted set
}

// Entry is one source as a file has it.
type Entry struct {
	Source
	Binary   bool // for binary packages ("deb")
	Trusted  bool // taken without a signature
	Embedded bool // its keys are in the file itself, and SignedBy is ""
}

// IsSourceFile reports whether apt reads sources from the file at name, a path
// without the leading slash.
func IsSourceFile(name string) bool {
	ext := path.Ext(name)
	return name == sourcesFile || path.Dir(name) == sourcesDir && (ext == ".list" || ext == ".sources")
}

const (
	sourcesFile = "etc/apt/sources.list"
	sourcesDir  = "etc/apt/sources.list.d"
)

// Parse reads the sources of one file; name, which [IsSourceFile] accepts, says in
// which of the two forms of sources.list(5) it is. Disabled entries, and what
// is not an entry, are left out: apt complains about the latter.
func Parse(name, text string) []Entry {
	if path.Ext(name) == ".sources" {
		return parseDeb822(text)
	}
	return parseLines(text)
}

// Machine reads the sources of the machine whose root is fsys: one-line and
// deb822 files, in apt's order, only those for binary packages.
func Machine(fsys fs.FS) ([]Source, error) {
	files := []string{sourcesFile}
	entries, err := fs.ReadDir(fsys, sourcesDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read apt sources: %w", err)
	}
	for _, e := range entries {
		if name := path.Join(sourcesDir, e.Name()); IsSourceFile(name) {
			files = append(files, name)
		}
	}
	var list []Source
	for _, name := range files {
		data, err := fs.ReadFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read apt sources: %w", err)
		}
		for _, e := range Parse(name, string(data)) {
			if e.Binary {
				list = append(list, e.Source)
			}
		}
	}
	return list, nil
}

// parseLines reads the one-line form.
func parseLines(text string) []Entry {
	var list []Entry
	for line := range strings.Lines(text) {
		if e, ok := parseLine(withoutComment(line)); ok {
			list = append(list, e)
		}
	}
	return list
}

func parseLine(line string) (e Entry, ok bool) {
	line = strings.TrimLeft(line, blanks)
	at := strings.IndexAny(line+" ", blanks)
	kind, rest := line[:at], strings.TrimLeft(line[at:], blanks) // quotes and escapes are of the kind
	if kind != "deb" && kind != "deb-src" {
		return Entry{}, false
	}
	e.Binary = kind == "deb"
	if opts, isThere := strings.CutPrefix(rest, "["); isThere {
		for rest = strings.TrimLeft(opts, blanks); !strings.HasPrefix(rest, "]"); {
			var opt string
			if opt, rest, ok = cutWord(rest, "]"); !ok {
				return Entry{}, false
			}
			key, value, _ := strings.Cut(unescape(opt), "=")
			switch strings.ToLower(key) {
			case "signed-by":
				e.SignedBy = value
			case "trusted":
				e.Trusted = isTrue(value)
			}
		}
		rest = rest[1:]
	}
	words := []string{}
	for strings.TrimLeft(rest, blanks) != "" {
		var word string
		if word, rest, ok = cutWord(rest, ""); !ok {
			return Entry{}, false
		}
		words = append(words, word)
	}
	if len(words) < 2 || words[0] == "" { // apt calls an empty address malformed
		return Entry{}, false
	}
	e.URI, e.Suites, e.Components = words[0], words[1:2], words[2:]
	return e, true
}

// withoutComment cuts the line at "#", which begins a comment outside of brackets alone.
func withoutComment(line string) string {
	last := strings.LastIndexByte(line, ']') // a bracket after it is not closed
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '#':
			return line[:i]
		case line[i] == '[' && i < last:
			i += strings.IndexByte(line[i:], ']')
		}
	}
	return line
}

// blanks are what is between words.
const blanks = " \t\n\v\f\r"

// escape is a byte of a word in hexadecimal digits.
var escape = regexp.MustCompile("%[0-9A-Fa-f]{2}")

func unescape(word string) string {
	return escape.ReplaceAllStringFunc(word, func(code string) string {
		n, _ := strconv.ParseUint(code[1:], 16, 8) // two digits
		return string([]byte{byte(n)})
	})
}

// cutWord returns the first word of s as apt reads it, and what is after the blanks
// behind it. Quotes and brackets in a word keep blanks, and the quotes are not of
// the word. A byte of stop ends it too. It is false without a word, or if a
// quote or bracket is not closed.
// Escapes stay: an address keeps them.
func cutWord(s, stop string) (word, rest string, ok bool) {
	s = strings.TrimLeft(s, blanks)
	end := 0
	for end < len(s) && strings.IndexByte(blanks+stop, s[end]) < 0 {
		if c := s[end]; c == '"' || c == '[' {
			closing := c
			if c == '[' {
				closing = ']'
			}
			n := strings.IndexByte(s[end+1:], closing)
			if n < 0 {
				return "", "", false
			}
			end += n + 1
		}
		end++
	}
	return strings.ReplaceAll(s[:end], `"`, ""), strings.TrimLeft(s[end:], blanks), end > 0
}

func parseDeb822(text string) []Entry {
	var list []Entry
	for para := range deb822.Paragraphs(text, "types", "uris", "suites", "components", "signed-by", "trusted", "enabled") {
		types := strings.Fields(para["types"])
		if isFalse(para["enabled"]) || !slices.Contains(types, "deb") && !slices.Contains(types, "deb-src") {
			continue
		}
		signedBy := para["signed-by"]
		embedded := strings.Contains(signedBy, "\n")
		if embedded {
			signedBy = ""
		}
		for uri := range strings.FieldsSeq(para["uris"]) {
			list = append(list, Entry{Binary: slices.Contains(types, "deb"), Trusted: isTrue(para["trusted"]), Embedded: embedded, Source: Source{
				URI: uri, Suites: strings.Fields(para["suites"]), Components: strings.Fields(para["components"]), SignedBy: signedBy,
			}})
		}
	}
	return list
}

// isTrue and isFalse take the words that apt takes for true and false.
func isTrue(s string) bool {
	n, err := strconv.ParseInt(s, 0, 64)
	return err == nil && n == 1 || slices.Contains([]string{"yes", "true", "with", "on", "enable"}, strings.ToLower(s))
}

func isFalse(s string) bool {
	return slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(s))
}

// Debian picks from a Debian machine's sources the entry of the main archive
// and, if there is one, that of the security archive. codename is the
// machine's own release. ok is false when no main entry is there.
func Debian(list []Source, codename string) (main, security Source, ok bool) {
	for _, s := range list {
		if !slices.Contains(s.Components, "main") || strings.HasPrefix(s.URI, "cdrom:") {
			continue // of a disc, which only its own machine has
		}
		if !ok && (slices.Contains(s.Suites, codename) || slices.Contains(s.Suites, "stable")) {
			main, ok = s, true
		}
		if security.URI == "" && (slices.Contains(s.Suites, codename+"-security") || slices.Contains(s.Suites, "stable-security")) {
			security = s
		}
	}
	return main, security, ok
}

// Format writes list in deb822 form.
func Format(list []Source) []byte {
	var b strings.Builder
	for i, s := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n", s.URI, strings.Join(s.Suites, " "), strings.Join(s.Components, " "))
		if s.SignedBy != "" {
			fmt.Fprintf(&b, "Signed-By: %s\n", s.SignedBy)
		}
	}
	return []byte(b.String())
}

// IsPrivate reports whether uri means something on this machine or its network
// only, so that a guest elsewhere could not use it.
func IsPrivate(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return true
	}
	return isPrivateHost(u.Hostname())
}
