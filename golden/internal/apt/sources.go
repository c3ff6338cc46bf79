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
	"slices"
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
		kind, rest := cutWord(withoutComment(line))
		if kind != "deb" && kind != "deb-src" {
			continue
		}
		e := Entry{Binary: kind == "deb"}
		if opts, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(opts, "[") {
			rest = after
			for opt := range strings.FieldsSeq(opts[1:]) {
				key, value, _ := strings.Cut(opt, "=")
				value = strings.Trim(value, `"`)
				switch strings.ToLower(key) {
				case "signed-by":
					e.SignedBy = value
				case "trusted":
					e.Trusted = isTrue(value)
				}
			}
		}
		words := strings.Fields(rest)
		if len(words) < 2 {
			continue
		}
		e.URI, e.Suites, e.Components = words[0], words[1:2], words[2:]
		list = append(list, e)
	}
	return list
}

// withoutComment cuts the line at "#", which begins a comment outside of the options alone.
func withoutComment(line string) string {
	from := 0
	if open := strings.IndexByte(line, '['); open >= 0 && open < strings.IndexByte(line+"#", '#') {
		if end := strings.IndexByte(line[open:], ']'); end >= 0 {
			from = open + end
		}
	}
	if at := strings.IndexByte(line[from:], '#'); at >= 0 {
		return line[:from+at]
	}
	return line
}

// cutWord returns the first word of s and what is after the blanks behind it.
func cutWord(s string) (word, rest string) {
	s = strings.TrimSpace(s)
	at := strings.IndexAny(s, " \t")
	if at < 0 {
		return s, ""
	}
	return s[:at], strings.TrimSpace(s[at:])
}

func parseDeb822(text string) []Entry {
	var list []Entry
	for para := range deb822.Paragraphs(text) {
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
	return slices.Contains([]string{"yes", "true", "with", "on", "enable", "1"}, strings.ToLower(s))
}

func isFalse(s string) bool {
	return slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(s))
}

// Debian picks from a Debian machine's sources the entry of the main archive
// and, if there is one, that of the security archive. codename is the
// machine's own release. ok is false when no main entry is there.
func Debian(list []Source, codename string) (main, security Source, ok bool) {
	for _, s := range list {
		if !slices.Contains(s.Components, "main") {
			continue
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
