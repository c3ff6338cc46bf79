package inspect

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// maxDirectories is how many directories the text shows; the JSON has all.
const maxDirectories = 20

// WriteJSON writes the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteText writes the report for people: sizes in binary units, what is short
// first, and the lists of units and packages last.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "archive   %s\nsystem    %s\n", termtext.Name(r.Archive), termtext.Name(r.OS.PrettyName))
	fmt.Fprintf(&b, "size      %s packed, %s of content\nentries  ", progress.Bytes(r.Packed), progress.Bytes(r.Content))
	for _, kind := range slices.Sorted(maps.Keys(r.Entries)) {
		fmt.Fprintf(&b, " %s %d", termtext.Name(kind), r.Entries[kind])
	}
	b.WriteString("\n")
	if r.Source == FromTable {
		b.WriteString("source    the archive's own table of contents; its files were not read (--full reads them, verify compares both)\n")
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "problem: %s\n", termtext.Name(p))
	}
	b.WriteString("\nconfiguration\n")
	for _, key := range slices.Sorted(maps.Keys(r.Config)) {
		fmt.Fprintf(&b, "  %s: %s\n", termtext.Name(key), termtext.Name(r.Config[key]))
	}
	fmt.Fprintf(&b, "\nimages (%d)\n", len(r.Images))
	for _, i := range r.Images {
		fmt.Fprintf(&b, "  %s %s\n", termtext.Name(i.Reference), termtext.Name(i.ConfigDigest))
	}
	b.WriteString("\ndirectories\n")
	for _, d := range r.Directories[:min(maxDirectories, len(r.Directories))] {
		fmt.Fprintf(&b, "  %10s %6d entries  %s\n", progress.Bytes(d.Bytes), d.Entries, termtext.Name(d.Path))
	}
	fmt.Fprintf(&b, "\nunits (%d)\n", len(r.Units))
	for _, u := range r.Units {
		fmt.Fprintf(&b, "  %-8s %s\n", termtext.Name(u.State), termtext.Name(u.Name))
	}
	fmt.Fprintf(&b, "\npackages (%d)\n", len(r.Packages))
	for _, p := range r.Packages {
		fmt.Fprintf(&b, "  %s %s %s\n", termtext.Name(p.Name), termtext.Name(p.Version), termtext.Name(p.Arch))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
