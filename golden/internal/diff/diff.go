// Package diff compares two archives by meaning: packages, units,
// configuration and files. Order of members, times, compression and names of
// owners do not count. It says what differs and not whether that is well, and
// opens no file.
package diff

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/inspect"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/termtext"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Change is one thing that two archives do not share. A side that does not
// have it is null in JSON, nil here.
type Change struct {
	Name  string  `json:"name"`
	Field string  `json:"field,omitempty"` // of a file: what of it differs; "" when one side has none
	A     *string `json:"a"`
	B     *string `json:"b"`
}

// Report is what differs, each list sorted by name.
type Report struct {
	A        string   `json:"a"`
	B        string   `json:"b"`
	Same     bool     `json:"same"`
	Packages []Change `json:"packages"` // by version
	Units    []Change `json:"units"`    // by state
	Config   []Change `json:"config"`
	Files    []Change `json:"files"`
}

// Compare compares what [inspect.Archive] read with its option Files.
func Compare(a, b inspect.Report) Report {
	r := Report{
		A: a.Archive, B: b.Archive,
		Packages: packages(a.Packages, b.Packages),
		Units:    compare(units(a), units(b)),
		Config:   compare(config(a), config(b)),
		Files:    files(a, b),
	}
	r.Same = len(r.Packages)+len(r.Units)+len(r.Config)+len(r.Files) == 0
	return r
}

func compare(a, b map[string]string) []Change {
	list := []Change{}
	for _, name := range names(a, b) {
		av, inA := a[name]
		bv, inB := b[name]
		if inA == inB && av == bv {
			continue
		}
		c := Change{Name: name}
		if inA {
			c.A = &av
		}
		if inB {
			c.B = &bv
		}
		list = append(list, c)
	}
	return list
}

// names lists the keys of both, sorted.
func names[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

// packages compares two lists that are sorted by name and architecture. An image
// may claim very many packages, so that it makes no map of them.
func packages(a, b []image.Package) []Change {
	list := []Change{}
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(b) == 0:
			order = -1
		case len(a) == 0:
			order = 1
		default:
			order = cmp.Or(strings.Compare(a[0].Name, b[0].Name), strings.Compare(a[0].Arch, b[0].Arch))
		}
		var c Change
		if order <= 0 {
			c.Name, c.A = a[0].Name+":"+a[0].Arch, &a[0].Version
			a = a[1:]
		}
		if order >= 0 {
			c.Name, c.B = b[0].Name+":"+b[0].Arch, &b[0].Version
			b = b[1:]
		}
		if c.A == nil || c.B == nil || *c.A != *c.B {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func units(r inspect.Report) map[string]string {
	m := map[string]string{}
	for _, u := range r.Units {
		m[u.Name] = u.State
	}
	return m
}

// config brings values to one form, so that "1" and "yes", or two orders of
// the same properties, do not differ.
func config(r inspect.Report) map[string]string {
	m := map[string]string{}
	for key, value := range r.Config {
		section, name := "", key
		if at := strings.Index(key, "] "); at >= 0 {
			section, name = key[:at+2], key[at+2:]
		}
		if canonical, err := pctconf.Canonical(name, value); err == nil {
			value = canonical
		}
		m[section+name] = value
	}
	return m
}

func files(a, b inspect.Report) []Change {
	inA, inB := byPath(a), byPath(b)
	list := []Change{}
	for _, name := range names(inA, inB) {
		fa, fb := inA[name], inB[name]
		at := "/" + strings.TrimPrefix(name, ".")
		switch {
		case fa == nil:
			list = append(list, Change{Name: at, B: new(fb.Type.String())})
		case fb == nil:
			list = append(list, Change{Name: at, A: new(fa.Type.String())})
		default:
			list = append(list, fields(at, fa, fb)...)
		}
	}
	return list
}

func byPath(r inspect.Report) map[string]*image.Entry {
	m := make(map[string]*image.Entry, len(r.Files))
	for _, e := range r.Files {
		m[e.Path] = e
	}
	return m
}

func fields(name string, a, b *image.Entry) []Change {
	if a.Type != b.Type {
		return []Change{{Name: name, Field: "type", A: new(a.Type.String()), B: new(b.Type.String())}}
	}
	rows := []struct{ field, a, b string }{
		{"mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode)},
		{"owner", fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID)},
		{"size", fmt.Sprint(a.Size), fmt.Sprint(b.Size)},
		{"sha256", digest(a), digest(b)},
		{"link", a.Link, b.Link},
		{"device", a.Device(), b.Device()},
		{"xattrs", attributes(a.Xattrs()), attributes(b.Xattrs())},
	}
	// The kernel ignores the mode of a symlink.
	if a.Type == vzdump.Symlink {
		rows = rows[1:]
	}
	var list []Change
	for _, r := range rows {
		if r.a != r.b {
			list = append(list, Change{Name: name, Field: r.field, A: &r.a, B: &r.b})
		}
	}
	return list
}

func digest(e *image.Entry) string {
	if !e.Hashed {
		return ""
	}
	return hex.EncodeToString(e.Digest[:])
}

func attributes(m map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, name+"="+m[name])
	}
	return strings.Join(parts, " ")
}

// WriteJSON writes the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteText writes one line for each difference, and nothing when there is
// none: "-" only in A, "+" only in B, "~" in both but not the same.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, part := range []struct {
		kind string
		list []Change
	}{{"package", r.Packages}, {"unit", r.Units}, {"config", r.Config}, {"file", r.Files}} {
		for _, c := range part.list {
			name := termtext.Name(c.Name)
			switch {
			case c.A == nil:
				fmt.Fprintf(&b, "+ %s %s: %s\n", part.kind, name, termtext.Name(*c.B))
			case c.B == nil:
				fmt.Fprintf(&b, "- %s %s: %s\n", part.kind, name, termtext.Name(*c.A))
			default:
				if c.Field != "" {
					name += " " + c.Field
				}
				fmt.Fprintf(&b, "~ %s %s: %s -> %s\n", part.kind, name, termtext.Name(*c.A), termtext.Name(*c.B))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
