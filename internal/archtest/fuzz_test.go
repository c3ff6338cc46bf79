package archtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The table of fuzz targets in CONTRIBUTING.md is how a reader finds out what has
// none: each package with targets is in it.
func TestFuzzTargetsAreListed(t *testing.T) {
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Fuzz targets\n")
	section, _, ok := strings.Cut(section, "\n## ")
	if !ok {
		t.Fatal("CONTRIBUTING.md has no section on fuzz targets")
	}
	own, _ := load(t)
	found := 0
	for _, p := range own {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(data, []byte("\nfunc Fuzz")) {
				continue
			}
			found++
			name := strings.TrimPrefix(p.ImportPath, module)
			if !strings.Contains(section, "`"+name+"`") && !strings.Contains(section, "`"+filepath.Base(name)+"`") {
				t.Errorf("%s has fuzz targets, and CONTRIBUTING.md does not name it", name)
			}
			break
		}
	}
	if found == 0 {
		t.Error("no fuzz target was found: this test looks for the wrong name")
	}
}
