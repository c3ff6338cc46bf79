package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// probeName is the target that a file of Probe is named for.
const probeName = "probe"

// Probe returns why no file can be written to the directory dir and synced there. Its
// file has no name, so that nothing stays when the process is killed. Where the file system
// has no such files, as those of FUSE, it is a temporary file as that of [Write], which the
// next Probe removes, and [SweepAll].
func Probe(dir string) (err error) {
	root, err := os.OpenRoot(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	fd, err := unix.Open(filepath.Clean(dir), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return fill(os.NewFile(uintptr(fd), filepath.Join(dir, probeName)))
	}
	return probeByName(root)
}

// probeByName is Probe for any file system.
func probeByName(root *os.Root) error {
	if err := Sweep(root, probeName); err != nil {
		return err
	}
	name := temporary(probeName)
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = fill(f)
	if removeErr := root.Remove(name); !errors.Is(removeErr, fs.ErrNotExist) { // another Probe may have removed it
		err = errors.Join(err, removeErr)
	}
	return err
}

func fill(f *os.File) error {
	_, err := f.WriteString("felhom\n")
	return errors.Join(err, f.Sync(), f.Close())
}
