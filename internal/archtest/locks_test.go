package archtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A lock that is given up by closing its file alone stays held while a child of
// another goroutine has a copy of the descriptor, and a wait in flock(2) keeps a
// thread. One package knows both.
func TestOnlyOnePackageLocksFiles(t *testing.T) {
	const owner = module + "internal/filelock"
	// It locks for a moment a descriptor that its caller keeps, and unlocks it itself.
	const exception = module + "internal/passage"
	own, _ := load(t)
	seen := false
	for _, p := range own {
		for _, name := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(data, []byte(".Flock(")) {
				continue
			}
			if p.ImportPath != owner && p.ImportPath != exception {
				t.Errorf("%s/%s calls flock(2): use %s", p.ImportPath, name, owner)
			}
			seen = seen || p.ImportPath == owner
		}
	}
	if !seen {
		t.Errorf("%s calls no flock(2): this test looks for the wrong name", owner)
	}
}
