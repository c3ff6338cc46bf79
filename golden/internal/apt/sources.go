// Package apt reads and writes apt's sources. Call [Machine] and [Debian] for
// those of this machine, [Format] to write those of a build or a guest, and
// [Client.Release] to fetch the signed index that says what an archive has now. It installs nothing and verifies no signature: apt itself
// does that, with the keyrings that are named here.
package apt

import (
	"bufio"
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

// Machine reads the sources of the machine whose root is fsys: one-line and
// deb822 files, in apt's order, only those for binary packages. Disabled
// entries are left out.
func Machine(fsys fs.FS) ([]Source, error) {
	files := []string{"etc/apt/sources.list"}
	entries, err := fs.ReadDir(fsys, "etc/apt/sources.list.d")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read apt sources: %w", err)
	}
	for _, e := range entries {
		if ext := path.Ext(e.Name()); ext == ".list" || ext == ".sources" {
			files = append(files, path.Join("etc/apt/sources.list.d", e.Name()))
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
		if path.Ext(name) == ".sources" {
			list = append(list, parseDeb822(string(data))...)
		} else {
			list = append(list, parseLines(string(data))...)
		}
	}
	return list, nil
}

// parseLines reads the one-line form of sources.list(5). What it cannot read
// is left to apt to complain about: we only look for an entry to use.
func parseLines(text string) []Source {
	var list []Source
	sc := bufio.NewScanner(strings.NewReader(text))
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		var s Source
		rest = strings.TrimSpace(rest)
		if opts, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(opts, "[") {
			rest = after
			for opt := range strings.FieldsSeq(opts[1:]) {
				if v, ok := strings.CutPrefix(opt, "signed-by="); ok {
					s.SignedBy = v
				}
			}
		}
		words := strings.Fields(rest)
		if len(words) < 2 {
			continue
		}
		s.URI, s.Suites, s.Components = words[0], words[1:2], words[2:]
		list = append(list, s)
	}
	return list
}

func parseDeb822(text string) []Source {
	var list []Source
	for para := range deb822.Paragraphs(text) {
		if !slices.Contains(strings.Fields(para["types"]), "deb") || strings.EqualFold(para["enabled"], "no") {
			continue
		}
		signedBy := para["signed-by"]
		if strings.Contains(signedBy, "\n") {
			signedBy = "" // a key in the file itself: apt's trusted set has to do
		}
		for uri := range strings.FieldsSeq(para["uris"]) {
			list = append(list, Source{
				URI: uri, Suites: strings.Fields(para["suites"]), Components: strings.Fields(para["components"]), SignedBy: signedBy,
			})
		}
	}
	return list
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
