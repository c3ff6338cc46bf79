package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// A file that never had a name cannot be left by a killed process.
func TestProbeMakesNoName(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Skipf("the file system of %s has no files without a name: %v", dir, err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(watch) }()
	if _, err := unix.InotifyAddWatch(watch, dir, unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Probe(dir); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a name was made: %d bytes of notices, %v", n, err)
	}
	assertOnly(t, dir)
}

// FUSE has no files without a name: what a killed Probe left there is removed by the next one.
func TestProbeByName(t *testing.T) {
	c := powercut.NewDisk(t)
	dir := c.Mount(t)
	if err := os.WriteFile(filepath.Join(dir, ".probe.ABCDEFGH.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Probe(dir); err != nil {
		t.Fatal(err)
	}
	assertOnly(t, dir)
	c.Full.Store(true)
	if err := atomicfile.Probe(dir); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("on a full disk: %v, want ENOSPC", err)
	}
	assertOnly(t, dir)
	if err := atomicfile.Probe(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the directory: %v, want ErrNotExist", err)
	}
}

func TestMakeDirectory(t *testing.T) {
	c := powercut.NewDisk(t)
	at := c.Mount(t)
	for range 2 { // it is safe to repeat
		if err := atomicfile.MakeDirectory(filepath.Join(at, "a/b/c")+"/", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	powercut.After(c.Changes(), powercut.Ends()[2]).Write(t, dir)
	if info, err := os.Stat(filepath.Join(dir, "a/b/c")); err != nil || !info.IsDir() {
		t.Errorf("after a loss of power: %v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(at, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "f/g"} {
		if err := atomicfile.MakeDirectory(filepath.Join(at, name), 0o700); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("%s: %v, want ENOTDIR", name, err)
		}
	}
}
