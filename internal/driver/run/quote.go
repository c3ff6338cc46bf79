package run

import "strings"

// Quote returns a command line in a form that can be pasted into a POSIX shell.
func Quote(path string, args ...string) string {
	words := make([]string, 0, 1+len(args))
	for _, w := range append([]string{path}, args...) {
		words = append(words, quoteWord(w))
	}
	return strings.Join(words, " ")
}

func quoteWord(w string) string {
	if w != "" && strings.IndexFunc(w, isSpecial) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

func isSpecial(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_./:=@,+%^", r)
}
