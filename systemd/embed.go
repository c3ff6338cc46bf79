// Package systemd holds the unit files of guest and host. It owns their text and
// starts nothing. [Guest] returns those that the golden image gets.
package systemd

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed felhom-controller-bootstrap.service felhom-controller-bootstrap.path felhom-controller-bootstrap-template.path etc-felhom-bootstrap.mount.unit felhom-engine-failed.service felhom-bootstrap-console.service docker.service.d/felhom.conf
var guest embed.FS

// MountUnit is the unit of the config mount, named as systemd escapes its path.
const MountUnit = `etc-felhom\x2dbootstrap.mount`

// mountFile holds MountUnit: neither Go's embedding nor a module's archive
// takes a file name with a backslash.
const mountFile = "etc-felhom-bootstrap.mount.unit"

// Guest returns the units of a guest, each under its unit's name, and drop-ins
// for units of packages, each in its directory.
func Guest() fs.ReadDirFS { return unitFS{guest} }

// unitFS shows mountFile as MountUnit, at the top.
type unitFS struct{ files embed.FS }

func (u unitFS) Open(name string) (fs.File, error) {
	if name == mountFile {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if name != MountUnit {
		f, err := u.files.Open(name)
		if dir, ok := f.(fs.ReadDirFile); ok && err == nil {
			return unitDir{dir}, nil
		}
		return f, err
	}
	f, err := u.files.Open(mountFile)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return unitFile{f}, nil
}

func (u unitFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := u.files.ReadDir(name)
	rename(entries)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

func rename(entries []fs.DirEntry) {
	for i, e := range entries {
		if e.Name() == mountFile {
			entries[i] = unitEntry{e}
		}
	}
}

type unitDir struct{ fs.ReadDirFile }

func (d unitDir) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := d.ReadDirFile.ReadDir(n)
	rename(entries)
	return entries, err
}

type unitEntry struct{ fs.DirEntry }

func (unitEntry) Name() string { return MountUnit }

func (e unitEntry) Info() (fs.FileInfo, error) {
	info, err := e.DirEntry.Info()
	return unitInfo{info}, err
}

type unitInfo struct{ fs.FileInfo }

func (unitInfo) Name() string { return MountUnit }

type unitFile struct{ fs.File }

func (f unitFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return unitInfo{info}, err
}
