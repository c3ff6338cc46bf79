package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// overlay is what the first frame has beside the config members: the files
// laid over the root, and the directories above them, which must come before and
// so cannot stay in the base frame.
type overlay struct {
	files       map[string]File
	directories []string // paths of directories that no File brings, sorted
	kinds       map[string]vzdump.Type
}

func newOverlay(files []File) (*overlay, error) {
	o := &overlay{files: map[string]File{}, kinds: map[string]vzdump.Type{}}
	for _, f := range files {
		kind := typeOf(f.Mode)
		switch {
		case f.Path == "" || !fs.ValidPath(f.Path):
			return nil, fault.Errorf(fault.Invalid, "overlay: path %q: want a clean relative path", f.Path)
		case kind != vzdump.File && kind != vzdump.Dir && kind != vzdump.Symlink:
			return nil, fault.Errorf(fault.Invalid, "overlay: /%s: a %s: want a file, directory or symlink", f.Path, kind)
		case strings.HasPrefix(f.Path, "dev/"), f.Path == path.Dir(vzdump.ConfigPath), strings.HasPrefix(f.Path, path.Dir(vzdump.ConfigPath)+"/"):
			return nil, fault.Errorf(fault.Invalid, "overlay: /%s: this directory is PVE's", f.Path)
		}
		if _, twice := o.files[f.Path]; twice {
			return nil, fault.Errorf(fault.Invalid, "overlay: /%s is there twice", f.Path)
		}
		o.files[f.Path] = f
		o.kinds[f.Path] = kind
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); ; dir = path.Dir(dir) {
			if kind, ok := o.kinds[dir]; ok && kind != vzdump.Dir {
				return nil, fault.Errorf(fault.Invalid, "overlay: /%s is below /%s, which is a %s", f.Path, dir, kind)
			} else if !ok {
				o.kinds[dir] = vzdump.Dir
				o.directories = append(o.directories, dir)
			}
			if dir == "." {
				break
			}
		}
	}
	slices.SortFunc(o.directories, vzdump.ComparePaths)
	return o, nil
}

// parents looks up the directories that the overlay needs from the root; one that
// is not there becomes 0755 root:root.
func (o *overlay) parents(s *scanner) ([]vzdump.Entry, error) {
	var list []vzdump.Entry
	for _, dir := range o.directories {
		n, err := s.node(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			n = node{Entry: vzdump.Entry{Path: dir, Type: vzdump.Dir, Mode: 0o755}}
		case err != nil:
			return nil, err
		case n.Type == vzdump.Symlink:
			return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("overlay: /%s is a symlink to %s in the root, and a member below it cannot be restored", dir, n.Link),
				"name the file by the real path")
		case n.Type != vzdump.Dir:
			return nil, fault.Errorf(fault.Invalid, "overlay: /%s is a %s in the root, want a directory", dir, n.Type)
		}
		list = append(list, n.Entry)
	}
	return list, nil
}

// entry is the member of an overlay file, with its content. Files on disk give
// their size when they are opened; the times are the epoch.
func (f File) entry() (vzdump.Entry, io.ReadCloser, error) {
	e := vzdump.Entry{Path: f.Path, Type: typeOf(f.Mode), Mode: unixMode(f.Mode), UID: f.UID, GID: f.GID}
	switch e.Type {
	case vzdump.Symlink:
		e.Mode, e.Link = 0o777, f.Link
	case vzdump.File:
		if f.Source == "" {
			e.Size = int64(len(f.Data))
			return e, io.NopCloser(bytes.NewReader(f.Data)), nil
		}
		r, err := regular.Open(f.Source)
		if err != nil {
			return e, nil, fault.Wrap(fault.Invalid, fmt.Errorf("overlay: /%s: %w", f.Path, err))
		}
		info, err := r.Stat()
		if err != nil {
			return e, nil, errors.Join(err, r.Close())
		}
		e.Size = info.Size()
		return e, r, nil
	}
	return e, io.NopCloser(strings.NewReader("")), nil
}

func unixMode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}
