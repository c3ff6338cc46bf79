package pack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// layer is what the first frame has beside the config members: the files
// laid over the root with the table of contents, and the directories above them,
// which must come before and so cannot stay in the base frame.
type layer struct {
	files       map[string]overlay.File
	directories []string // paths of directories that no file brings, sorted
	kinds       map[string]vzdump.Type
}

func newLayer(files []overlay.File) (*layer, error) {
	l := &layer{files: map[string]overlay.File{}, kinds: map[string]vzdump.Type{}}
	own := overlay.File{Path: contents.Path, Mode: 0o644}
	files = append(slices.Clone(files), own)
	for i, f := range files {
		kind := typeOf(f.Mode)
		switch {
		case f.Path == own.Path && i < len(files)-1:
			return nil, fault.Errorf(fault.Invalid, "overlay: /%s: pack writes this file itself", f.Path)
		case f.Path == "" || !fs.ValidPath(f.Path):
			return nil, fault.Errorf(fault.Invalid, "overlay: path %q: want a clean relative path", f.Path)
		case kind != vzdump.File && kind != vzdump.Dir && kind != vzdump.Symlink:
			return nil, fault.Errorf(fault.Invalid, "overlay: /%s: a %s: want a file, directory or symlink", f.Path, kind)
		case strings.HasPrefix(f.Path, "dev/"), f.Path == path.Dir(vzdump.ConfigPath), strings.HasPrefix(f.Path, path.Dir(vzdump.ConfigPath)+"/"):
			return nil, fault.Errorf(fault.Invalid, "overlay: /%s: this directory is PVE's", f.Path)
		}
		if _, twice := l.files[f.Path]; twice {
			return nil, fault.Errorf(fault.Invalid, "overlay: two files for /%s", f.Path)
		}
		l.files[f.Path] = f
		l.kinds[f.Path] = kind
	}
	for _, f := range files {
		for dir := path.Dir(f.Path); ; dir = path.Dir(dir) {
			if kind, ok := l.kinds[dir]; ok && kind != vzdump.Dir {
				return nil, fault.Errorf(fault.Invalid, "overlay: /%s is below /%s, which is a %s", f.Path, dir, kind)
			} else if !ok {
				l.kinds[dir] = vzdump.Dir
				l.directories = append(l.directories, dir)
			}
			if dir == "." {
				break
			}
		}
	}
	slices.SortFunc(l.directories, vzdump.ComparePaths)
	return l, nil
}

// parents looks up the directories that the overlay needs from the root; one that
// does not exist becomes 0755 root:root.
func (l *layer) parents(s *scanner) ([]vzdump.Entry, error) {
	var list []vzdump.Entry
	for _, dir := range l.directories {
		e, _, err := s.look(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e = vzdump.Entry{Path: dir, Type: vzdump.Dir, Mode: 0o755}
		case err != nil:
			return nil, err
		case e.Type == vzdump.Symlink:
			return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("overlay: /%s is a symlink to %s in the root, and a member below it cannot be restored", dir, e.Link),
				"name the file by the real path")
		case e.Type != vzdump.Dir:
			return nil, fault.Errorf(fault.Invalid, "overlay: /%s is a %s in the root, want a directory", dir, e.Type)
		}
		list = append(list, e)
	}
	return list, nil
}

// member is the member of an overlay file, with its content, which the caller
// closes. Files on disk give their size when they are opened.
func member(f overlay.File) (vzdump.Entry, io.ReadCloser, error) {
	e := vzdump.Entry{Path: f.Path, Type: typeOf(f.Mode), Mode: unixMode(f.Mode), UID: f.UID, GID: f.GID}
	switch e.Type {
	case vzdump.Symlink:
		e.Mode, e.Link = 0o777, f.Link
	case vzdump.File:
		r, err := f.Open()
		if err != nil {
			return e, nil, fault.Wrap(fault.Invalid, fmt.Errorf("overlay: /%s: %w", f.Path, err))
		}
		e.Size = int64(len(f.Data))
		if file, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
			info, err := file.Stat()
			if err != nil {
				return e, nil, errors.Join(err, r.Close())
			}
			e.Size = info.Size()
		}
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
