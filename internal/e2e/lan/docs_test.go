package lan_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A promise whose test was renamed or removed is no longer proved.
func TestTestsThatPagesNameExist(t *testing.T) {
	var source strings.Builder
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, "_test.go") {
			data, err := os.ReadFile(path)
			source.Write(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for page, least := range map[string]int{"security.md": 30, "reliability.md": 8} {
		text, err := os.ReadFile("../../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1)
		if len(named) < least {
			t.Errorf("docs/%s names %d tests, want %d or more", page, len(named), least)
		}
		for _, name := range named {
			if !strings.Contains(source.String(), "\nfunc "+name+"(") {
				t.Errorf("docs/%s names %s, and there is no such test", page, name)
			}
		}
	}
}
