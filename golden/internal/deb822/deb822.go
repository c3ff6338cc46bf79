// Package deb822 reads the text records of dpkg and apt (deb822(5)): the status
// file, sources and release files. [Paragraphs] is its only function. It judges
// nothing: a line that is not a field is passed over, as dpkg does with its own
// files. It is short because it is the one reader that stage, image and apt share.
package deb822

import (
	"iter"
	"slices"
	"strings"
)

// Paragraph is one record: values by field name in lower case. The lines of a
// value are without their indent, with a newline between them.
type Paragraph map[string]string

// Paragraphs yields the records of text that have fields, in their order, with the
// named fields alone: names are in lower case, and a record of other fields is
// empty. So a record takes no more memory than its text, whatever its fields are.
// Comment lines are left out. Each record is a map of its own.
func Paragraphs(text string, names ...string) iter.Seq[Paragraph] {
	return func(yield func(Paragraph) bool) {
		current, hasFields := Paragraph{}, false
		last, value := "", strings.Builder{} // the field that a line may continue, "" if it is not a named one
		end := func() {
			if last != "" {
				current[last] = value.String()
				value.Reset()
			}
			last = ""
		}
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\r\n")
			switch {
			case strings.HasPrefix(line, "#"):
			case strings.TrimSpace(line) == "":
				end()
				if hasFields && !yield(current) {
					return
				}
				current, hasFields = Paragraph{}, false
			case line[0] == ' ' || line[0] == '\t':
				if last != "" {
					value.WriteString("\n")
					value.WriteString(strings.TrimSpace(line))
				}
			default:
				name, first, ok := strings.Cut(line, ":")
				if !ok {
					continue
				}
				end()
				hasFields = true
				if name = strings.ToLower(strings.TrimSpace(name)); slices.Contains(names, name) {
					last = name
					value.WriteString(strings.TrimSpace(first))
				}
			}
		}
		if end(); hasFields {
			yield(current)
		}
	}
}
