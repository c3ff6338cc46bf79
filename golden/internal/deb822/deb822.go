// Package deb822 reads the text records of dpkg and apt (deb822(5)): the status
// file, sources and release files. [Paragraphs] is its only function. It judges
// nothing: a line that is not a field is passed over, as dpkg does with its own
// files. It is short because it is the one reader that stage, image and apt share.
package deb822

import (
	"iter"
	"strings"
)

// Paragraph is one record: values by field name in lower case. The lines of a
// value are without their indent, with a newline between them.
type Paragraph map[string]string

// Paragraphs yields the records of text that have fields, in their order.
// Comment lines are left out. Each record is a map of its own.
func Paragraphs(text string) iter.Seq[Paragraph] {
	return func(yield func(Paragraph) bool) {
		current, last := Paragraph{}, ""
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\r\n")
			switch {
			case strings.HasPrefix(line, "#"):
			case strings.TrimSpace(line) == "":
				if len(current) > 0 && !yield(current) {
					return
				}
				current, last = Paragraph{}, ""
			case line[0] == ' ' || line[0] == '\t':
				if last != "" {
					current[last] += "\n" + strings.TrimSpace(line)
				}
			default:
				if name, value, ok := strings.Cut(line, ":"); ok {
					last = strings.ToLower(strings.TrimSpace(name))
					current[last] = strings.TrimSpace(value)
				}
			}
		}
		if len(current) > 0 {
			yield(current)
		}
	}
}
