package pack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// largeFile is the size, in bytes, from which files come before all others: programs
// share code, and the encoder finds only what is near.
const largeFile = 4 << 20

// maxFindings bounds the list in one error message.
const maxFindings = 20

// inode names a file of the root that has several names; the zero value is any other.
type inode struct{ dev, ino uint64 }

// scanner walks a root in the order of members.
type scanner struct {
	root    *os.Root
	dir     string // the root's path, for attributes
	profile Profile
	brought map[string]vzdump.Type // what the overlay brings, with its directories
	links   map[inode]string       // the first path of each file with several names
	members []vzdump.Entry
	dropped []string
	wrong   []string
	total   int64
}

// scan lists what goes into the base frame. Everything that cannot go into an
// archive is reported at once.
func scan(ctx context.Context, root *os.Root, dir string, profile Profile, brought map[string]vzdump.Type) (*scanner, error) {
	s := &scanner{root: root, dir: dir, profile: profile, brought: brought, links: map[inode]string{}}
	if err := s.directory(ctx, "."); err != nil {
		return nil, err
	}
	if len(s.wrong) > 0 {
		more := ""
		if len(s.wrong) > maxFindings {
			more = fmt.Sprintf("\n... and %d more", len(s.wrong)-maxFindings)
			s.wrong = s.wrong[:maxFindings]
		}
		return nil, fault.WrapHint(fault.Invalid, errors.New("pack: these cannot be in an archive:\n"+strings.Join(s.wrong, "\n")+more),
			"stage as root so that owners are those of the guest; remove sockets, pipes and device nodes, or run seal")
	}
	s.members = largeFirst(s.members)
	return s, nil
}

// largeFirst returns sorted members with the large files first, and before them
// the directories that they are in. Both parts are sorted; a hard link stays
// behind its file, because links are not large.
func largeFirst(sorted []vzdump.Entry) []vzdump.Entry {
	first := map[string]bool{}
	for i := range sorted {
		if e := &sorted[i]; e.Type == vzdump.File && e.Size >= largeFile {
			for p := e.Path; p != "." && !first[p]; p = path.Dir(p) {
				first[p] = true
			}
		}
	}
	list := make([]vzdump.Entry, 0, len(sorted))
	for _, want := range []bool{true, false} {
		for i := range sorted {
			if first[sorted[i].Path] == want {
				list = append(list, sorted[i])
			}
		}
	}
	return list
}

func (s *scanner) directory(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := s.root.Open(dir)
	if err != nil {
		return fmt.Errorf("read root: %w", err)
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read root: %w", err)
	}
	slices.Sort(names)
	if dir == "." {
		e, id, err := s.look(".")
		if err != nil {
			return err
		}
		s.add(e, id)
	}
	for _, name := range names {
		p := path.Join(dir, name)
		e, id, err := s.look(p)
		if err != nil {
			return err
		}
		if e.Type != vzdump.Dir {
			if !s.profile.Excludes(p, e.Type) && !s.orphaned(&e) {
				s.add(e, id)
			}
			continue
		}
		// An excluded directory stays when something in it stays.
		at := len(s.members)
		s.add(e, id)
		first := len(s.members)
		if p != "dev" && p != path.Dir(vzdump.ConfigPath) { // restore leaves ./dev/* out, pack writes the config members itself
			if err := s.directory(ctx, p); err != nil {
				return err
			}
		}
		if s.profile.Excludes(p, e.Type) && len(s.members) == first {
			s.members = s.members[:at]
		}
	}
	return nil
}

// orphaned reports whether e is an alternative, such as a manual page, whose file
// the profile leaves out. update-alternatives makes no link to a file that is
// missing either.
func (s *scanner) orphaned(e *vzdump.Entry) bool {
	target := strings.TrimPrefix(e.Link, "/")
	return e.Type == vzdump.Symlink && path.Dir(e.Path) == "etc/alternatives" && path.IsAbs(e.Link) && s.profile.Excludes(target, vzdump.File)
}

// add takes a member in, unless the overlay brings that path.
func (s *scanner) add(e vzdump.Entry, id inode) {
	if kind, ok := s.brought[e.Path]; ok {
		if e.Type == vzdump.Dir && kind != vzdump.Dir {
			s.wrong = append(s.wrong, fmt.Sprintf("/%s: a directory in the root, and a %s in the overlay", e.Path, kind))
		}
		return
	}
	// The overlay's directories are real ones: nothing of it may be below a link.
	switch e.Type {
	case vzdump.Char, vzdump.Block, vzdump.Fifo, vzdump.Other:
		s.wrong = append(s.wrong, fmt.Sprintf("/%s: a %s", e.Path, e.Type))
		return
	}
	if e.UID > vzdump.MaxID || e.GID > vzdump.MaxID {
		s.wrong = append(s.wrong, fmt.Sprintf("/%s: belongs to %d:%d, want ids up to %d", e.Path, e.UID, e.GID, vzdump.MaxID))
		return
	}
	if id != (inode{}) {
		if first, ok := s.links[id]; ok {
			e.Type, e.Link, e.Size, e.Xattrs = vzdump.Link, first, 0, nil
		} else {
			s.links[id] = e.Path
		}
	}
	s.total += e.Size
	s.members = append(s.members, e)
}

// look returns what is at one path, as a member.
func (s *scanner) look(p string) (vzdump.Entry, inode, error) {
	info, err := s.root.Lstat(p)
	if err != nil {
		return vzdump.Entry{}, inode{}, fmt.Errorf("read root: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return vzdump.Entry{}, inode{}, fmt.Errorf("read root: %s: no Unix file information", p)
	}
	e := vzdump.Entry{
		Path: p, Type: typeOf(info.Mode()), Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Sec, 0),
	}
	var id inode
	switch e.Type {
	case vzdump.File:
		e.Size = st.Size
		if st.Nlink > 1 {
			id = inode{st.Dev, st.Ino}
		}
	case vzdump.Symlink:
		e.Mode = 0o777
		if e.Link, err = s.root.Readlink(p); err != nil {
			return vzdump.Entry{}, inode{}, fmt.Errorf("read root: %w", err)
		}
	}
	if p == "." || p == "etc" {
		// Restore makes these two so, whatever is in the archive.
		e.Mode, e.UID, e.GID = 0o755, 0, 0
	}
	if e.Type == vzdump.File || e.Type == vzdump.Dir {
		e.Xattrs, err = s.xattrs(p)
	}
	return e, id, err
}

func (s *scanner) xattrs(p string) (map[string]string, error) {
	// The directories on the way are not links: the walk has just seen each.
	full := filepath.Join(s.dir, p)
	var buf [4096]byte
	size, err := unix.Llistxattr(full, buf[:])
	list := buf[:max(size, 0)]
	if errors.Is(err, unix.ERANGE) {
		list = make([]byte, 64<<10) // the kernel's own limit
		size, err = unix.Llistxattr(full, list)
		list = list[:max(size, 0)]
	}
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read root: attributes of %s: %w", full, err)
	}
	var kept map[string]string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if !vzdump.IsRestoredXattr(name) {
			s.dropped = append(s.dropped, p+": "+name)
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(full, name, value)
		if err != nil {
			return nil, fmt.Errorf("read root: attribute %s of %s: %w", name, full, err)
		}
		value = value[:n]
		if name == vzdump.CapabilityXattr {
			if bad := checkCapability(value); bad != "" {
				s.wrong = append(s.wrong, "/"+p+": "+bad)
				continue
			}
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[name] = string(value)
	}
	return kept, nil
}

// checkCapability wants the plain form (capabilities(7), VFS_CAP_REVISION_2):
// one that is bound to a user namespace means nothing in another.
func checkCapability(value []byte) string {
	if c, err := vzdump.ParseCapability(string(value)); err != nil || string(c.Plain()) != string(value) {
		return fmt.Sprintf("file capabilities %x are not of revision 2: set them with setcap outside of a user namespace", value)
	}
	return ""
}

func typeOf(m fs.FileMode) vzdump.Type {
	switch {
	case m.IsRegular():
		return vzdump.File
	case m.IsDir():
		return vzdump.Dir
	case m&fs.ModeSymlink != 0:
		return vzdump.Symlink
	case m&fs.ModeCharDevice != 0:
		return vzdump.Char
	case m&fs.ModeDevice != 0:
		return vzdump.Block
	case m&fs.ModeNamedPipe != 0:
		return vzdump.Fifo
	}
	return vzdump.Other
}
