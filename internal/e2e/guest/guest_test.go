package guest

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// A golden that cannot be restored leaves nothing.
func TestRestoreUndo(t *testing.T) {
	for _, program := range []string{
		"false", // refuses the archive
		"true",  // restores nothing, so that there is no root folder to write to
	} {
		dir := filepath.Join(t.TempDir(), "guest")
		_, err := Restore(t.Context(), Settings{
			Name: "felhom-guest-test", Dir: dir, Golden: program, Archive: "none",
			Bridge: "none", Address: netip.MustParsePrefix("192.0.2.1/24"),
		})
		if err == nil {
			t.Errorf("%s: want an error", program)
		}
		if _, err := os.Lstat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: %s is left behind: %v", program, dir, err)
		}
	}
}

// A folder that was there is not the guest's: it stays.
func TestRestoreRefusesFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := Restore(t.Context(), Settings{Name: "felhom-guest-test", Dir: dir, Golden: "true"}); err == nil {
		t.Error("want an error")
	}
	if _, err := os.Lstat(dir); err != nil {
		t.Error(err)
	}
}
