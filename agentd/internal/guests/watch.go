package guests

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// index is what was read of the records' directory. It follows the directory:
// the kernel queues a note of each change of a process of this node before the
// change's system call returns, so that a look at the queue misses none. What
// comes without a note (another node's change on pmxcfs) is found after maxAge.
type index struct {
	byVMID map[int]Record
	broken map[string]error // by file name
	seen   map[string]stamp // by file name; the zero stamp of one that could not be read
	taken  time.Time        // the last look at all files
	notes  int              // inotify descriptor; -1: none, each look is at all files
}

// stamp tells whether a file is the one that was read.
type stamp struct {
	inode    uint64
	size     int64
	modified unix.Timespec
	changed  unix.Timespec
}

const watched = unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO

// watch asks for notes. Without them the index is as right, and slower.
func (x *index) watch(root *os.Root) {
	x.notes = -1
	dir, err := root.Open(".")
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }() // only named
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return // fs.inotify.max_user_instances
	}
	if _, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), watched); err != nil {
		_ = unix.Close(fd) // the watch is what failed
		return
	}
	x.notes = fd
}

func (x *index) close() error {
	if x.notes < 0 {
		return nil
	}
	fd := x.notes
	x.notes = -1
	return unix.Close(fd)
}

// changed returns the names of which there are notes. all means that notes were
// lost or that there are none, so that every file must be looked at.
func (x *index) changed() (names []string, all bool) {
	if x.notes < 0 {
		return nil, true
	}
	var buf [16 << 10]byte
	for {
		n, err := unix.Read(x.notes, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return names, all
		case err != nil || n <= 0:
			return nil, true
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&b[0])) // the kernel's own layout
			end := unix.SizeofInotifyEvent + int(event.Len)
			all = all || event.Mask&(unix.IN_Q_OVERFLOW|unix.IN_IGNORED) != 0
			name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:end], "\x00"))
			if isRecordName(name) {
				names = append(names, name)
			}
			b = b[end:]
		}
	}
}

// refresh brings the index up to date. s.mu is held.
func (s *Store) refresh(force bool) error {
	x := &s.index
	if x.byVMID == nil {
		x.byVMID, x.broken, x.seen = map[int]Record{}, map[string]error{}, map[string]stamp{}
		x.watch(s.records)
		force = true
	}
	now := s.now()
	names, all := x.changed()
	for _, name := range names {
		s.reread(name)
	}
	if age := now.Sub(x.taken); force || all || age < 0 || age >= maxAge {
		return s.refreshAll(now)
	}
	return nil
}

// refreshAll reads the files whose stamp is not the one that was seen.
func (s *Store) refreshAll(now time.Time) error {
	dir, err := s.records.Open(".")
	if err != nil {
		return fmt.Errorf("guest store: %w", err)
	}
	names, err := dir.Readdirnames(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("guest store: %w", err)
	}
	isThere := make(map[string]bool, len(names))
	for _, name := range names {
		if isRecordName(name) {
			isThere[name] = true
			if have, known := s.index.seen[name]; !known || have != s.stampOf(name) {
				s.reread(name)
			}
		}
	}
	for name := range s.index.seen {
		if !isThere[name] {
			s.index.drop(name)
		}
	}
	s.index.taken = now
	return nil
}

// reread takes one file into the index. The stamp is taken before the content:
// a change between the two is seen at the next look. A file that could not be
// read has no stamp, so that each look tries it: it can be the process that had
// no descriptor left, or the file system that had a fault, and the file the same.
func (s *Store) reread(name string) {
	at := s.stampOf(name)
	r, err := s.read(name)
	s.index.drop(name)
	switch {
	case err == nil:
		s.index.byVMID[r.VMID] = r
	case errors.Is(err, ErrNotFound): // removed since
		return
	default:
		s.index.broken[name], at = err, stamp{}
	}
	s.index.seen[name] = at
}

func (x *index) drop(name string) {
	delete(x.seen, name)
	delete(x.broken, name)
	if vmid, ok := vmidOf(name); ok {
		delete(x.byVMID, vmid)
	}
}

func (s *Store) stampOf(name string) stamp {
	info, err := s.records.Lstat(name)
	if err != nil {
		return stamp{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{inode: st.Ino, size: st.Size, modified: unix.Timespec(st.Mtim), changed: unix.Timespec(st.Ctim)}
}

// isRecordName tells a record from a write that is under way and from others' files.
func isRecordName(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".json") && fs.ValidPath(name)
}
