package command

import "fmt"

// Documents returns the files that are written from the program's command
// line: its manual page, which ends with more (see [manPage]), and its completions.
// Their names are relative to the repository's root.
func Documents(a App, section int, more string) map[string]string {
	return map[string]string{
		fmt.Sprintf("docs/man/%s.%d", a.Name, section): manPage(a, section, more),
		"contrib/completions/bash/" + a.Name:           completion(a, "bash"),
		"contrib/completions/zsh/_" + a.Name:           completion(a, "zsh"),
		"contrib/completions/fish/" + a.Name + ".fish": completion(a, "fish"),
	}
}
