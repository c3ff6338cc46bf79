package inspect

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

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

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "archive   %s\nsystem    %s\n", termtext.Name(r.Archive), termtext.Name(r.OS.PrettyName))
	fmt.Fprintf(&b, "size      %d bytes packed, %d bytes of content\nentries  ", r.Packed, r.Content)
	for _, kind := range slices.Sorted(maps.Keys(r.Entries)) {
		fmt.Fprintf(&b, " %s %d", kind, r.Entries[kind])
	}
	b.WriteString("\n\nconfiguration\n")
	for _, key := range slices.Sorted(maps.Keys(r.Config)) {
		fmt.Fprintf(&b, "  %s: %s\n", termtext.Name(key), termtext.Name(r.Config[key]))
	}
	fmt.Fprintf(&b, "\nimages (%d)\n", len(r.Images))
	for _, i := range r.Images {
		fmt.Fprintf(&b, "  %s %s\n", termtext.Name(i.Reference), termtext.Name(i.ConfigDigest))
	}
	fmt.Fprintf(&b, "\nunits (%d)\n", len(r.Units))
	for _, u := range r.Units {
		fmt.Fprintf(&b, "  %-8s %s\n", u.State, termtext.Name(u.Name))
	}
	fmt.Fprintf(&b, "\npackages (%d)\n", len(r.Packages))
	for _, p := range r.Packages {
		fmt.Fprintf(&b, "  %s %s %s\n", termtext.Name(p.Name), termtext.Name(p.Version), termtext.Name(p.Arch))
	}
	b.WriteString("\ndirectories\n")
	for _, d := range r.Directories[:min(maxDirectories, len(r.Directories))] {
		fmt.Fprintf(&b, "  %12d bytes %6d entries  %s\n", d.Bytes, d.Entries, termtext.Name(d.Path))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "problem: %s\n", termtext.Name(p))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
