package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/felhom/felhom-golden/internal/fault"
)

func TestCheckCache(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		dir: true, filepath.Join(dir, "a", "b"): true, file: false, filepath.Join(file, "a"): false, "/dev/null": false,
	} {
		err := checkCache(path)
		if (err == nil) != want || err != nil && (fault.Of(err) != fault.Misuse || fault.HintOf(err) == "") {
			t.Errorf("%s: %v, want taken %v", path, err, want)
		}
	}
}
