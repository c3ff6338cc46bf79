package pct

import (
	"regexp"
	"strings"
)

// Names that others chose, as PVE and tar quote them.
var (
	quotedPath = has(`(command )?'/[^'\n]*'`)
	tarName    = has(`(?m)^tar: .+: `) // up to the cause, which is last
)

// withoutNames returns the text of a program that was called with args in which no name
// can have the words of a rule: a name's blanks and brackets become "_". All rules but
// those of quoted names match more than one word.
func withoutNames(text string, args []string) string {
	for _, arg := range args {
		for part := range strings.SplitSeq(arg, ",") {
			_, value, _ := strings.Cut(part, "=")
			for _, name := range []string{strings.TrimSpace(part), strings.TrimSpace(value)} {
				if strings.Contains(name, "/") { // no other argument has blanks and is quoted
					text = strings.ReplaceAll(text, name, oneWord(name))
				}
			}
		}
	}
	text = quotedPath.ReplaceAllStringFunc(text, func(path string) string {
		if strings.HasPrefix(path, "command ") { // its name is the one of a program
			return path
		}
		return oneWord(path)
	})
	return tarName.ReplaceAllStringFunc(text, func(name string) string {
		return "tar: " + oneWord(name[len("tar: "):len(name)-len(": ")]) + ": "
	})
}

var blanks = regexp.MustCompile(`[\s()\[\]]`)

func oneWord(name string) string { return blanks.ReplaceAllString(name, "_") }
