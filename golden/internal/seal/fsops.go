package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// remove removes each name that exists, directories with their content.
func (w *work) remove(names ...string) error {
	for _, name := range names {
		st, err := w.lstat(name)
		if err != nil {
			return err
		}
		if st == nil {
			continue
		}
		if err := w.root.RemoveAll(name); err != nil {
			return err
		}
		w.changed(name, "removed")
	}
	return nil
}

// removeAll removes what matches a path whose elements may be patterns of
// path.Match.
func (w *work) removeAll(pattern string) error {
	names, err := w.expand(pattern)
	if err != nil {
		return err
	}
	return w.remove(names...)
}

func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// expand resolves a path whose elements may be patterns. Names that a pattern
// gives exist.
func (w *work) expand(pattern string) ([]string, error) {
	dirs := []string{"."}
	for elem := range strings.SplitSeq(pattern, "/") {
		var next []string
		for _, dir := range dirs {
			if !strings.ContainsAny(elem, "*?[") {
				next = append(next, path.Join(dir, elem))
				continue
			}
			names, err := w.names(dir)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if matches(name, []string{elem}) {
					next = append(next, path.Join(dir, name))
				}
			}
		}
		dirs = next
	}
	return dirs, nil
}

// names lists a directory in order; a name that is not a directory has none.
func (w *work) names(dir string) (names []string, err error) {
	st, err := w.lstat(dir)
	if err != nil || st == nil || !st.IsDir() {
		return nil, err
	}
	f, err := w.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	names, err = f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// truncate cuts an existing regular file to nothing and keeps its owner.
func (w *work) truncate(name string) error {
	st, err := w.lstat(name)
	if err != nil || st == nil || st.Mode().IsRegular() && st.Size() == 0 {
		return err
	}
	if !st.Mode().IsRegular() {
		return w.remove(name)
	}
	return w.rewrite(name, nil, st)
}

// rewrite replaces the content of an existing file and keeps mode and owner.
func (w *work) rewrite(name string, data []byte, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: no owner known", name)
	}
	attr := atomicfile.Attr{Mode: st.Mode().Perm(), Chown: true, UID: int(sys.Uid), GID: int(sys.Gid)}
	if err := atomicfile.Write(w.root, name, data, attr); err != nil {
		return err
	}
	w.changed(name, "rewritten")
	return nil
}

// write makes name a regular file of root with this content and mode, whatever
// is there now.
func (w *work) write(name string, data []byte, mode fs.FileMode) error {
	st, err := w.lstat(name)
	if err != nil {
		return err
	}
	if st != nil && st.Mode().IsRegular() && st.Size() == int64(len(data)) && st.Mode().Perm() == mode && ownedByRoot(st) {
		old, err := w.root.ReadFile(name)
		if err != nil || bytes.Equal(old, data) {
			return err
		}
	}
	if st != nil && st.IsDir() {
		if err := w.root.RemoveAll(name); err != nil {
			return err
		}
	}
	// As root the new file is root's; without, it stays the caller's, as all
	// of a tree that was made in a user namespace does.
	attr := atomicfile.Attr{Mode: mode, Chown: os.Geteuid() == 0}
	if err := atomicfile.Write(w.root, name, data, attr); err != nil {
		return err
	}
	w.changed(name, "written")
	return nil
}

func ownedByRoot(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return os.Geteuid() != 0 || ok && sys.Uid == 0 && sys.Gid == 0
}

// makeDir makes name a directory of root with that mode, and repairs one that
// exists. A link in its place stays: /bin leads to /usr/bin.
func (w *work) makeDir(name string, mode fs.FileMode) error {
	st, err := w.lstat(name)
	if err != nil {
		return err
	}
	if st != nil && st.Mode().Type() == fs.ModeSymlink {
		return nil
	}
	const bits = fs.ModePerm | fs.ModeSticky | fs.ModeSetuid | fs.ModeSetgid
	switch {
	case st == nil:
		if err := w.root.Mkdir(name, 0o700); err != nil {
			return err
		}
	case st.IsDir() && st.Mode()&bits == mode && ownedByRoot(st):
		return nil
	case !st.IsDir():
		return fmt.Errorf("%s: want a directory, got a %s", name, st.Mode().Type())
	}
	if os.Geteuid() == 0 {
		if err := w.root.Chown(name, 0, 0); err != nil {
			return err
		}
	}
	if err := w.root.Chmod(name, mode); err != nil {
		return err
	}
	w.changed(name, fmt.Sprintf("made a directory of mode %04o", mode.Perm()))
	return nil
}

// walk calls visit for everything below dir that is not skipped. It does not
// follow links. visit may remove what it was given.
func (w *work) walk(dir string, visit func(name string, st fs.FileInfo) error) error {
	names, err := w.names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		name = path.Join(dir, name)
		st, err := w.root.Lstat(name)
		if err != nil {
			return err
		}
		if err := visit(name, st); err != nil {
			return err
		}
		if st.IsDir() {
			if err := w.walk(name, visit); err != nil {
				return err
			}
		}
	}
	return nil
}
