package commandtest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var exitRow = regexp.MustCompile("(?m)^\\| (\\d+) \\| `([a-z-]+)` \\| ([^|]+) \\| ([^|]+) \\|$")

// exitStatus returns the section EXIT STATUS of a manual page, in the language of man(7), from docs/exit-codes.md: the table, and what
// follows it up to the next heading.
func exitStatus(page string) (string, error) {
	page, _, _ = strings.Cut(page, "\n## ")
	rows := exitRow.FindAllStringSubmatchIndex(page, -1)
	if len(rows) == 0 {
		return "", errors.New("docs/exit-codes.md: there is no table of exit codes")
	}
	var b strings.Builder
	b.WriteString(".SH EXIT STATUS\n")
	for _, r := range rows {
		field := func(n int) string { return page[r[2*n]:r[2*n+1]] }
		fmt.Fprintf(&b, ".TP\n.B %s\n%s: %s.", field(1), field(2), manText(field(3)))
		if again := field(4); again != "–" {
			fmt.Fprintf(&b, "\nTry again: %s.", again)
		}
		b.WriteString("\n")
	}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(page[rows[len(rows)-1][1]:]), "\n\n") {
		b.WriteString(".PP\n" + manText(paragraph) + "\n")
	}
	return b.String(), nil
}

// manText writes Markdown without its marks.
func manText(text string) string {
	return strings.NewReplacer("`", "", `\`, `\e`, "-", `\-`, "–", `\-`).Replace(text)
}
