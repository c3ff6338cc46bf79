package archtest_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]*)\(`)
	fuzzRow    = regexp.MustCompile("`([^`]+)`")
)

// TestFuzzTableIsComplete holds the table of CONTRIBUTING.md against the targets of the
// tree: each has a row, and each name in a row is one.
func TestFuzzTableIsComplete(t *testing.T) {
	var exist []string
	err := filepath.WalkDir("../..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == ".git" || name == ".cache" || name == "dist" || name == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel("../..", filepath.Dir(file))
		for _, m := range fuzzTarget.FindAllStringSubmatch(string(text), -1) {
			exist = append(exist, dir+" "+m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := fuzzTable(string(page))
	if len(exist) < 50 || len(listed) < 50 {
		t.Fatalf("%d targets and %d in the table: the test does not find them", len(exist), len(listed))
	}
	for _, target := range exist {
		if !slices.Contains(listed, target) {
			t.Errorf("%s is not in the table of CONTRIBUTING.md: add it to its row", target)
		}
	}
	for i, target := range listed {
		if !slices.Contains(exist, target) {
			t.Errorf("the table of CONTRIBUTING.md has %s, which does not exist", target)
		}
		if slices.Contains(listed[:i], target) {
			t.Errorf("the table of CONTRIBUTING.md has %s twice", target)
		}
	}
}

// fuzzTable returns the targets of the table, "DIRECTORY TARGET". In a row a target is
// in the directories before it; a directory without a slash is a program, or beside the
// one before it.
func fuzzTable(page string) (all []string) {
	_, below, _ := strings.Cut(page, "\n| what is read | package and target |\n")
	table, _, _ := strings.Cut(below, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		dir, dirs, hasTarget := "", []string{}, false
		for _, m := range fuzzRow.FindAllStringSubmatch(cells[2], -1) {
			if strings.HasPrefix(m[1], "Fuzz") { // of all directories since the last target
				for _, d := range dirs {
					all = append(all, d+" "+m[1])
				}
				hasTarget = true
				continue
			}
			if hasTarget {
				dirs, hasTarget = nil, false
			}
			if m[1] != "agentd" && m[1] != "bootstrapper" && m[1] != "golden" && !strings.Contains(m[1], "/") {
				m[1] = path.Join(path.Dir(dir), m[1])
			}
			dir = m[1]
			dirs = append(dirs, dir)
		}
	}
	return all
}
