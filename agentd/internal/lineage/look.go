package lineage

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
)

// maxConfig is the limit of a guest's configuration, which is that of pmxcfs.
const maxConfig = 1 << 20

// Looker reads configurations, and those that did not change not again. It is
// not safe for concurrent use.
type Looker struct {
	// Files returns the files of the configurations of all guests of this host.
	Files func() (map[int]string, error)
	// ID returns the ID in a description.
	ID func(description string) string
	// Disk returns what identifies the root file system of a guest; nil: nothing does.
	Disk func(vmid int) string

	seen   map[int]seen
	unread map[int]bool // that are missing from the last look
}

type seen struct {
	stamp stamp
	guest Guest
}

type stamp struct {
	file              string
	inode             uint64
	size              int64
	modified, changed syscall.Timespec
}

// editTime is for how long a configuration may be missing while an editor writes
// it again: some rename the file first. A guest that is removed and made again is
// missing for longer.
const editTime = 300 * time.Millisecond

// Look returns all guests. One whose configuration cannot be read is as it was,
// or missing if it was not read before: see IsUnread.
func (l *Looker) Look() (map[int]Guest, error) {
	files, err := l.Files()
	if err == nil && l.misses(files) {
		<-time.After(editTime)
		files, err = l.Files()
	}
	if err != nil {
		return nil, err
	}
	l.unread = map[int]bool{}
	now, guests := map[int]seen{}, map[int]Guest{}
	for _, vmid := range slices.Sorted(maps.Keys(files)) {
		one, known := l.seen[vmid]
		at, ok := stampOf(files[vmid])
		if ok && (!known || one.stamp != at) {
			data, err := regular.Read(files[vmid], maxConfig)
			if err == nil {
				config, _ := pctconf.Parse(data) // lines that PVE does not take have no effect
				one, known = seen{at, Of(config, l.ID)}, true
			}
		}
		if !known {
			l.unread[vmid] = true
			continue
		}
		now[vmid] = one
		guest := one.guest
		if l.Disk != nil {
			guest.Disk = l.Disk(vmid)
		}
		guests[vmid] = guest
	}
	l.seen = now
	return guests, nil
}

// IsUnread reports whether a guest is missing from the last look although it has a
// configuration: it is not gone.
func (l *Looker) IsUnread(vmid int) bool { return l.unread[vmid] }

// misses reports whether a guest that was seen has no configuration now.
func (l *Looker) misses(files map[int]string) bool {
	for vmid := range l.seen {
		if _, ok := files[vmid]; !ok {
			return true
		}
	}
	return false
}

func stampOf(file string) (stamp, bool) {
	info, err := os.Lstat(file)
	if err != nil {
		return stamp{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{file: file, inode: st.Ino, size: st.Size, modified: st.Mtim, changed: st.Ctim}, true
}

// Notices has the kernel's notices of changes in a directory: a lock that is in a
// configuration for a moment would else be missed. The kernel has none of changes
// by other nodes of a cluster.
type Notices struct {
	C     <-chan struct{} // holds one value after any number of changes
	file  *os.File
	ended atomic.Bool
}

// Watch returns the notices of dir, or nil if the kernel gives none.
func Watch(dir string) *Notices {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil // fs.inotify.max_user_instances
	}
	file := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM|unix.IN_CREATE|unix.IN_DELETE); err != nil {
		_ = file.Close() // the watch is what failed
		return nil
	}
	changes := make(chan struct{}, 1)
	notices := &Notices{C: changes, file: file}
	go func() {
		buffer := make([]byte, 4<<10)
		for {
			n, err := file.Read(buffer)
			if err != nil {
				return // it was closed
			}
			if isLast(buffer[:n]) {
				notices.ended.Store(true)
			}
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}()
	return notices
}

// isLast reports whether one of the events says that no more will come.
func isLast(events []byte) bool {
	const mask, length = 4, 12 // places in the kernel's struct inotify_event
	for len(events) >= unix.SizeofInotifyEvent {
		if binary.NativeEndian.Uint32(events[mask:])&unix.IN_IGNORED != 0 {
			return true
		}
		next := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[length:]))
		events = events[min(next, len(events)):]
	}
	return false
}

// HasEnded reports whether no notice comes any more: the directory was removed, or
// its file system has ended, as pmxcfs does when it is started again. It may be
// called on nil.
func (n *Notices) HasEnded() bool { return n == nil || n.ended.Load() }

// Changes returns C; of nil a channel that never holds a value.
func (n *Notices) Changes() <-chan struct{} {
	if n == nil {
		return nil
	}
	return n.C
}

// Close ends the notices. It may be called on nil.
func (n *Notices) Close() error {
	if n == nil {
		return nil
	}
	return n.file.Close()
}

// DirectoryID identifies a directory for as long as it exists, "" if there is none.
// The number of the device is not a part of it: many file systems get another one
// when the host starts again.
func DirectoryID(dir string) string {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE|unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return ""
	}
	id := strconv.FormatUint(st.Ino, 10)
	if st.Mask&unix.STATX_BTIME != 0 { // inode numbers are used again
		id += fmt.Sprintf(":%d.%09d", st.Btime.Sec, st.Btime.Nsec)
	}
	return id
}
