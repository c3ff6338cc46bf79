// Package configmount owns the folder that a guest sees read-only at
// /etc/felhom-bootstrap: who owns it and how a file in it is replaced. It never
// reads anything back from there, because a guest's root can remount the bind
// read-write, and never removes what others put there (controller.yaml.tmpl).
//
// Folder root:<mapped root> 0750, file root:<mapped root> 0640: the guest's
// root reads through its group, and after a read-write remount still can not
// write, create, unlink or chmod.
package configmount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// BootstrapFile is the name of the contract's file in the mount.
const BootstrapFile = "bootstrap.json"

const (
	parentMode = 0o711 // the guest's mapped root walks through, nobody lists
	folderMode = 0o750
	fileMode   = 0o640
)

// Dir is the host folder below which each guest has its mount.
type Dir struct {
	path string
	uid  int // owner of what is written
}

// New returns the mounts below path. path need not exist yet.
func New(path string) Dir { return Dir{path: path, uid: 0} }

// Path returns the host folder of guest vmid: the source of its bind mount.
func (d Dir) Path(vmid int) string { return filepath.Join(d.path, strconv.Itoa(vmid)) }

// Put replaces file name in the mount of guest vmid, making the folder first
// where there is none and setting its owner and mode where they are different.
// gid is the host id of the guest's root group. The guest sees the old file or
// the new one, and no symbolic link is followed.
func (d Dir) Put(vmid, gid int, name string, data []byte) (err error) {
	if filepath.Base(name) != name || name == "." || name == ".." {
		return fmt.Errorf("config mount of guest %d: %q is not the name of a file", vmid, name)
	}
	folder, err := d.open(vmid, gid)
	if err != nil {
		return fmt.Errorf("config mount of guest %d: %w", vmid, err)
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	attr := atomicfile.Attr{Mode: fileMode, Chown: true, UID: d.uid, GID: gid}
	if err := atomicfile.Write(folder, name, data, attr); err != nil {
		return fmt.Errorf("config mount of guest %d: %w", vmid, err)
	}
	return nil
}

func (d Dir) open(vmid, gid int) (_ *os.Root, err error) {
	if err := os.MkdirAll(d.path, parentMode); err != nil {
		return nil, err
	}
	parent, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, parent.Close()) }()
	name := strconv.Itoa(vmid)
	if err := parent.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	folder, err := openFolder(parent, name)
	if err != nil {
		return nil, err
	}
	// Owner first: from here on the guest can not change what the folder holds.
	if err := folder.Chown(".", d.uid, gid); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	if err := folder.Chmod(".", folderMode); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return folder, nil
}

// openFolder opens the folder that Lstat saw, and nothing that took its place.
func openFolder(parent *os.Root, name string) (*os.Root, error) {
	seen, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !seen.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%v, want a folder", seen.Mode().Type())}
	}
	folder, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	got, err := folder.Stat(".")
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	if !os.SameFile(seen, got) {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: name, Err: errors.New("it was replaced while being opened")}, folder.Close())
	}
	return folder, nil
}
