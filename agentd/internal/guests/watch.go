package guests

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// index is what was read of the records' directory. It follows the directory:
// the kernel queues a notice of each change by a process of this node before the
// change's system call returns, so that a reader of the queue misses none. A
// change without a notice (another node's on pmxcfs) is seen after maxAge.
//
// Store.mu guards everything but the files themselves. It is never held while a
// file is read: a disk that does not answer would block every request.
type index struct {
	byVMID map[int]Record
	broken map[string]error // by file name
	seen   map[string]stamp // by file name; the zero stamp of one that could not be read
	taken  time.Time        // when the last look at all files began
	took   time.Duration    // that it took

	notices  int           // inotify descriptor; -1: none, each look is at all files
	buffer   [4 << 10]byte // of notices: on the stack of each request it would be copied as that grows
	isClosed bool          // no look sets notices any more

	changes map[string]bool // names with notices that were not looked at yet
	lost    bool            // notices were lost, or there are none: look at all files
	look    *look           // under way, and the only user of seen; nil: none
}

// look is one reading of files. It has ended once done is closed.
type look struct {
	isOfAll bool
	began   time.Time
	names   []string // with notices when it began
	isBlind bool     // there were changes whose names are not known
	done    chan struct{}
	err     error
}

// seenFile is what a look found under a name.
type seenFile struct {
	stamp  stamp
	record Record // if err is nil
	err    error
	isGone bool
}

// stamp identifies the version of a file that was read.
type stamp struct {
	inode    uint64
	size     int64
	modified unix.Timespec
	changed  unix.Timespec
}

const watched = unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO

// watch returns a descriptor for notices of changes in root, or -1: without
// notices the index is slower, but as correct.
func watch(root *os.Root) int {
	dir, err := root.Open(".")
	if err != nil {
		return -1
	}
	defer func() { _ = dir.Close() }() // only its name is used
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1 // fs.inotify.max_user_instances
	}
	if _, err := unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), watched); err != nil {
		_ = unix.Close(fd) // the watch is what failed
		return -1
	}
	return fd
}

func (x *index) init() {
	x.notices, x.lost = -1, true
	x.byVMID, x.broken, x.seen, x.changes = map[int]Record{}, map[string]error{}, map[string]stamp{}, map[string]bool{}
}

func (x *index) close() error {
	x.isClosed = true
	if x.notices < 0 {
		return nil
	}
	fd := x.notices
	x.notices = -1
	return unix.Close(fd)
}

// collect reads the kernel's queue of notices.
func (x *index) collect() {
	if x.notices < 0 {
		x.lost = true
		return
	}
	for {
		n, err := unix.Read(x.notices, x.buffer[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil || n <= 0:
			x.lost = true
			return
		}
		for b := x.buffer[:n]; len(b) >= unix.SizeofInotifyEvent; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&b[0])) // the kernel's own layout
			end := unix.SizeofInotifyEvent + int(event.Len)
			x.lost = x.lost || event.Mask&(unix.IN_Q_OVERFLOW|unix.IN_IGNORED) != 0
			name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:end], "\x00"))
			if isRecordName(name) {
				x.changes[name] = true
			}
			b = b[end:]
		}
	}
}

// refresh returns once the index has all changes that were made before the call,
// or [ErrBusy] if the disk has not answered by then. Any number of callers wait
// for one look. isForAll looks at all files, whatever the notices say.
//
// If the caller needs the records of those names alone, a disk that answers too
// slowly does not end in [ErrBusy]: see isUsable.
func (s *Store) refresh(isForAll bool, limit time.Duration, names ...string) error {
	var late <-chan time.Time
	for isOld := true; ; isOld = false {
		under, isNew := s.startLook(isForAll)
		if under == nil {
			return nil
		}
		if late == nil {
			late = time.After(limit)
		}
		select {
		case <-under.done:
		case <-late:
			if s.isUsable(names) {
				return nil
			}
			return fmt.Errorf("%w: the records could not be read within %v", ErrBusy, limit)
		}
		if under.err != nil {
			return under.err
		}
		// A look that was under way before may have passed a file that changed since.
		if isNew || !isOld && (under.isOfAll || !isForAll) {
			return nil
		}
	}
}

// isUsable reports whether the index may be used for the records of those names
// while a look is late. On a disk where each look takes longer than a caller can
// wait, no caller would ever have an answer. So the index is used for slowAge if the
// last look at all files ended and took that long too. No change with a notice is
// passed: what this node's commands did counts at the next request.
func (s *Store) isUsable(names []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.index
	x.collect()
	age := s.now().Sub(x.taken)
	if len(names) == 0 || x.lost || x.took < maxAge || age < 0 || age >= slowAge {
		return false
	}
	if x.look != nil && x.look.isBlind {
		return false
	}
	return !slices.ContainsFunc(names, func(name string) bool {
		return x.changes[name] || x.look != nil && slices.Contains(x.look.names, name)
	})
}

// startLook returns the look to wait for before the index is up to date, or nil
// if it is. It starts one if none is under way.
func (s *Store) startLook(isForAll bool) (_ *look, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.index
	x.collect()
	if x.look != nil {
		return x.look, false
	}
	now := s.now()
	age := now.Sub(x.taken)
	isForAll = isForAll || x.lost || age < 0 || age >= maxAge
	if !isForAll && len(x.changes) == 0 {
		return nil, false
	}
	x.look = &look{
		isOfAll: isForAll, began: now, names: slices.Collect(maps.Keys(x.changes)), isBlind: x.lost, done: make(chan struct{}),
	}
	x.lost = false
	clear(x.changes)
	go s.runLook(x.look)
	return x.look, true
}

func (s *Store) runLook(l *look) {
	x := &s.index
	notices := -1
	if s.records.reopen() || x.taken.IsZero() { // only a look writes it
		notices = watch(s.records.root())
		l.isOfAll = true
	}
	found := map[string]seenFile{}
	if l.isOfAll {
		l.err = s.readAll(found)
	} else {
		for _, name := range l.names {
			found[name] = s.readFile(name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case notices < 0:
	case x.isClosed:
		_ = unix.Close(notices) // nothing waits for it
	default:
		if x.notices >= 0 {
			_ = unix.Close(x.notices) // of a directory that is gone
		}
		x.notices = notices
	}
	x.end(l, found, s.now())
}

// end enters what the look found.
func (x *index) end(l *look, found map[string]seenFile, now time.Time) {
	x.look = nil
	x.lost = x.lost || l.err != nil
	if l.err == nil && l.isOfAll {
		x.taken, x.took = l.began, now.Sub(l.began)
	}
	for name, file := range found {
		x.enter(name, file)
	}
	close(l.done)
}

// readAll reads the files whose stamp is not the one that was seen.
func (s *Store) readAll(found map[string]seenFile) error {
	entries, err := fs.ReadDir(s.records.root().FS(), ".")
	if err != nil {
		return fmt.Errorf("guest store: %w", err)
	}
	exists := make(map[string]bool, len(entries))
	for _, entry := range entries {
		if name := entry.Name(); isRecordName(name) {
			exists[name] = true
			if have, known := s.index.seen[name]; !known || have != s.stampOf(name) {
				found[name] = s.readFile(name)
			}
		}
	}
	for name := range s.index.seen {
		if !exists[name] {
			found[name] = seenFile{isGone: true}
		}
	}
	return nil
}

// readFile reads one file. The stamp is taken before the content: a change
// between the two is seen at the next look. A file that cannot be read has the
// zero stamp, so that each look tries it again: the cause can be a process
// without descriptors, or a fault of the file system, with the file unchanged.
func (s *Store) readFile(name string) seenFile {
	at := s.stampOf(name)
	r, err := s.read(name)
	switch {
	case err == nil:
		return seenFile{stamp: at, record: r}
	case errors.Is(err, ErrNotFound):
		return seenFile{isGone: true}
	}
	return seenFile{err: err}
}

func (x *index) enter(name string, file seenFile) {
	delete(x.seen, name)
	delete(x.broken, name)
	if vmid, ok := vmidOf(name); ok {
		delete(x.byVMID, vmid)
	}
	if file.isGone {
		return
	}
	x.seen[name] = file.stamp
	if file.err != nil {
		x.broken[name] = file.err
		return
	}
	x.byVMID[file.record.VMID] = file.record
}

func (s *Store) stampOf(name string) stamp {
	info, err := s.records.root().Lstat(name)
	if err != nil {
		return stamp{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{inode: st.Ino, size: st.Size, modified: unix.Timespec(st.Mtim), changed: unix.Timespec(st.Ctim)}
}

// isRecordName distinguishes a record from a write that is under way and from
// other files.
func isRecordName(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".json") && fs.ValidPath(name)
}
