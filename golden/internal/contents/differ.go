package contents

import (
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-golden/golden/internal/image"
)

// Differences returns how the table c differs from what the archive holds: one
// sentence for each list, with its first difference.
func (c Contents) Differences(archive Contents) []string {
	var found []string
	add := func(text string) {
		if text != "" {
			found = append(found, text)
		}
	}
	if c.OS != archive.OS {
		add(fmt.Sprintf("the system is %.100q in the table, %.100q in the archive", c.OS, archive.OS))
	}
	if c.Content != archive.Content {
		add(fmt.Sprintf("the files have %d bytes in the table, %d in the archive", c.Content, archive.Content))
	}
	kinds := slices.Concat(slices.Collect(maps.Keys(c.Entries)), slices.Collect(maps.Keys(archive.Entries)))
	slices.Sort(kinds)
	for _, kind := range slices.Compact(kinds) {
		if a, b := c.Entries[kind], archive.Entries[kind]; a != b {
			add(fmt.Sprintf("members of kind %.40q: %d in the table, %d in the archive", kind, a, b))
		}
	}
	add(first("packages", c.Packages, archive.Packages, func(p image.Package) string { return p.Name + " " + p.Version + " " + p.Arch }))
	add(first("units", c.Units, archive.Units, func(s image.State) string { return s.Name + " " + s.State }))
	add(first("images", c.Images, archive.Images, func(i Image) string { return i.Reference + " " + i.ConfigDigest }))
	add(first("directories", c.Directories, archive.Directories, func(d Directory) string {
		return fmt.Sprintf("%s of %d bytes and %d entries", d.Path, d.Bytes, d.Entries)
	}))
	add(first("problems", c.Problems, archive.Problems, func(s string) string { return s }))
	return found
}

// first returns a sentence about the first difference of two lists, "" if they are equal.
func first[T comparable](what string, table, archive []T, show func(T) string) string {
	at := 0
	for at < min(len(table), len(archive)) && table[at] == archive[at] {
		at++
	}
	if at == len(table) && at == len(archive) {
		return ""
	}
	at1, at2 := "nothing", "nothing"
	if at < len(table) {
		at1 = fmt.Sprintf("%.200q", show(table[at]))
	}
	if at < len(archive) {
		at2 = fmt.Sprintf("%.200q", show(archive[at]))
	}
	return fmt.Sprintf("%s: %d in the table, %d in the archive; number %d is %s in the table, %s in the archive", what, len(table), len(archive), at+1, at1, at2)
}
