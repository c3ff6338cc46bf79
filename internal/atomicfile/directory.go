package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeDirectory makes the directory name and those above it, as os.MkdirAll does, and calls
// fsync for each directory that gets a new name in it: a loss of power would lose the new
// directory with all files in it otherwise, also those that were synced. It is safe to repeat.
func MakeDirectory(name string, mode fs.FileMode) error {
	name = filepath.Clean(name)
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	above := filepath.Dir(name)
	if above != name {
		if err := MakeDirectory(above, mode); err != nil {
			return err
		}
	}
	err := os.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) { // by another process, or it is not a directory
		return os.MkdirAll(name, mode)
	}
	if err != nil {
		return err
	}
	return SyncPath(above)
}

// SyncPath is [SyncDirectory] for a directory by its path.
func SyncPath(dir string) error {
	return In(filepath.Clean(dir), func(root *os.Root) error { return SyncDirectory(root, "") })
}
