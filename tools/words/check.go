package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// allowance is a line of allow.txt: the words that files of the pattern may have on lines with the text.
type allowance struct {
	line          int
	pattern, word string
	text, reason  string
	used          bool
}

func (a *allowance) covers(file string, h hit) bool {
	return a.word == h.found && below(a.pattern, file) && strings.Contains(h.text, a.text)
}

// below reports whether the file is the pattern, matches it, or is below the directory that it names. "." is the whole repository.
func below(pattern, file string) bool {
	if pattern == "." || file == pattern || strings.HasPrefix(file, strings.TrimSuffix(pattern, "/")+"/") {
		return true
	}
	matched, err := path.Match(pattern, file)
	return err == nil && matched
}

// parseAllowed reads lines of the form PATH | WORDS | TEXT | REASON. An empty TEXT stands for any line of the file.
func parseAllowed(text string) ([]*allowance, error) {
	var list []*allowance
	var errs []error
	for i, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, rest, _ := strings.Cut(line, "|")
		words, rest, _ := strings.Cut(rest, "|")
		end := strings.LastIndex(rest, "|")
		if end < 0 || strings.TrimSpace(pattern) == "" || strings.TrimSpace(words) == "" {
			errs = append(errs, fmt.Errorf("allow.txt:%d: want PATH | WORDS | TEXT | REASON, got %q", i+1, line))
			continue
		}
		a := &allowance{line: i + 1, pattern: strings.TrimSpace(pattern), word: strings.TrimSpace(words)}
		a.text, a.reason = strings.TrimSpace(rest[:end]), strings.TrimSpace(rest[end+1:])
		if _, err := path.Match(a.pattern, ""); err != nil {
			errs = append(errs, fmt.Errorf("allow.txt:%d: %q is not a valid pattern: %w", i+1, a.pattern, err))
			continue
		}
		if a.reason == "" {
			errs = append(errs, fmt.Errorf("allow.txt:%d: the reason is missing", i+1))
			continue
		}
		list = append(list, a)
	}
	return list, errors.Join(errs...)
}

// parseChecked reads checked.txt: one path on each line.
func parseChecked(text string) []string {
	var list []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}

// check returns the report's lines, in the order of the files. It reads every file, so that an allowance is called unused only if no
// file needs it.
func check(root fs.FS, files []string, allowText, checkedText string, o options) ([]string, error) {
	allowed, err := parseAllowed(allowText)
	if err != nil {
		return nil, err
	}
	scope := parseChecked(checkedText)
	var report []string
	for _, p := range scope {
		if !slices.ContainsFunc(files, func(f string) bool { return below(p, f) }) {
			report = append(report, fmt.Sprintf("tools/words/checked.txt: %q names no file: remove it", p))
		}
	}
	switch {
	case o.all, o.count && len(o.paths) == 0:
		scope = []string{"."}
	case len(o.paths) > 0:
		scope = o.paths
	}
	counts := map[string]int{}
	for _, name := range files {
		if skipped(name) {
			continue
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, err
		}
		for _, h := range find(name, data) {
			if allow(allowed, name, h) || !slices.ContainsFunc(scope, func(p string) bool { return below(p, name) }) {
				continue
			}
			counts[path.Dir(name)]++
			if !o.count {
				report = append(report, fmt.Sprintf("%s:%d:%d: %q: write %s", name, h.line, h.column, h.found, h.write))
			}
		}
	}
	for _, a := range allowed {
		if !a.used {
			report = append(report, fmt.Sprintf("tools/words/allow.txt:%d: unused: no place in %s needs %q: remove the line", a.line, a.pattern, a.word))
		}
	}
	if o.count {
		report = append(report, byDirectory(counts)...)
	}
	return report, nil
}

// allow marks each allowance that covers the hit, so that two lines for one place are both called used.
func allow(list []*allowance, file string, h hit) bool {
	covered := false
	for _, a := range list {
		if a.covers(file, h) {
			a.used, covered = true, true
		}
	}
	return covered
}

func byDirectory(counts map[string]int) []string {
	var lines []string
	total := 0
	for dir, n := range counts {
		lines = append(lines, fmt.Sprintf("%6d %s", n, dir))
		total += n
	}
	slices.SortFunc(lines, func(a, b string) int { return cmp.Or(strings.Compare(b[:6], a[:6]), strings.Compare(a, b)) })
	return append(lines, fmt.Sprintf("%6d in all", total))
}

// skipped reports whether the file's text cannot be reworded here: data, other people's texts, and this program's own tables.
func skipped(name string) bool {
	for _, p := range []string{
		"LICENSE", "testdata", "tools/words/allow.txt", "tools/words/rules.go", "tools/words/words_test.go",
	} {
		if below(p, name) {
			return true
		}
	}
	if path.Base(name) == "go.mod" || path.Base(name) == "go.sum" || path.Ext(name) == ".svg" {
		return true
	}
	// Scripts of commands and their output are worded here; other testdata comes from elsewhere.
	return strings.Contains(name, "/testdata/") && !strings.Contains(name, "/testdata/script/")
}
