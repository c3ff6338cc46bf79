package lxc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// An archive that is a named pipe must not hold the command up for ever.
func TestArchiveThatIsNotAFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "vzdump-lxc-9100-pipe.tar")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	d := New(Options{Path: filepath.Join(dir, "guests")})
	for _, archive := range []string{pipe, dir, filepath.Join(dir, "none")} {
		done := make(chan error, 1)
		go func() {
			_, err := d.ArchiveConfig(t.Context(), archive)
			done <- err
		}()
		select {
		case err := <-done:
			if !errors.Is(err, driver.ErrArchive) || fault.Of(err) != fault.Invalid {
				t.Errorf("%s: error %v, want %v", archive, err, driver.ErrArchive)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s holds the reader up", archive)
		}
	}
}
