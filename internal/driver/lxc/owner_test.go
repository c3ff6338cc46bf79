package lxc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// TestMountsOfAnotherGuest: another guest's mount holds its token, and whoever
// edits a pct.conf must not show it to this one.
func TestMountsOfAnotherGuest(t *testing.T) {
	dir := t.TempDir()
	mounts := filepath.Join(dir, "mounts")
	for _, name := range []string{"8200/sub", "8201"} {
		if err := os.MkdirAll(filepath.Join(mounts, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := New(Options{Path: filepath.Join(dir, "guests"), MountDir: mounts})
	for source, ok := range map[string]bool{
		mounts + "/8200": true, mounts + "/8201": false, mounts + "/8200/sub": false, mounts: false, "/etc": false, "/dev/shm": false,
	} {
		conf := parse(t, "unprivileged: 1\nmp0: "+source+",mp=/mnt\n")
		err := d.checkMounts(8200, conf)
		if refused := errors.Is(err, driver.ErrRefused) && fault.Of(err) == fault.Invalid && fault.HintOf(err) != ""; refused == ok {
			t.Errorf("start with %s: error %v, want a refusal: %v", source, err, !ok)
		}
	}
	for _, source := range []string{mounts + "/8201", "/etc"} {
		if err := d.Attach(t.Context(), 8200, driver.Mount{Source: source, Target: "/mnt"}); !errors.Is(err, driver.ErrRefused) || fault.Of(err) != fault.Invalid {
			t.Errorf("attach %s: error %v, want a refusal", source, err)
		}
	}
}
