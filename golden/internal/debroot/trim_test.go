package debroot

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A build that ends while another one installs removes none of that one's packages.
func TestTrimKeepsWhatMayBeInUse(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "packages")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%064d.deb", i)) }
	now := time.Now()
	for i := range packagesKept + 2 { // the last two are beyond what is kept
		used := now.Add(-time.Duration(i) * time.Millisecond)
		if i == packagesKept+1 {
			used = used.Add(-2 * time.Hour)
		}
		if err := os.WriteFile(name(i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name(i), used, used); err != nil {
			t.Fatal(err)
		}
	}
	if err := Trim(cache); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(name(packagesKept)); err != nil {
		t.Errorf("a package that was just used: %v", err)
	}
	if _, err := os.Lstat(name(packagesKept + 1)); !os.IsNotExist(err) {
		t.Errorf("a package that was not used for two hours: want it removed, got %v", err)
	}
}
