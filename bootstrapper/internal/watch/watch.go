// Package watch notices that the host changed the config mount or the files in
// it. Call [New], wait on [Watcher.Changes], and compare what [Watcher.Look]
// returns with what it returned before. It keeps no file of the mount open: that
// would prevent the host from removing the mount.
package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// State identifies what is in the mount. Two are equal if nothing was written,
// replaced, given to another owner, mounted or unmounted in between.
type State struct {
	mount uint64 // id of the mount that the directory is in
	turns uint64 // how often the path got another directory: kernels before 6.8 reuse an id at once
	files [maxNames]file
}

// maxNames keeps State comparable by ==.
const maxNames = 2

type file struct {
	device, inode uint64
	size          int64
	changed       int64 // ctime in ns: also set by chmod and chown
}

// Present reports whether the first of the watched names exists.
func (s State) Present() bool { return s.files[0] != file{} }

// Watcher watches a directory's names and what is mounted at the directory.
type Watcher struct {
	dir       string
	names     []string
	mountinfo int
	inotify   int
	wakeup    int // eventfd: Close was called
	watched   int // descriptor of the directory's watch in inotify; -1: none
	every     int // milliseconds after which a look is due in any case; -1: never
	turns     atomic.Uint64

	changes chan struct{}
	done    chan struct{}
	close   sync.Once
}

// lookEvery is how often the directory is looked at if the kernel does not notify.
const lookEvery = 2000 // ms

// directoryEvents are the events of a changed content, owner or existence of a
// name. A file that is written in place counts when it is closed.
const directoryEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// New watches names in dir, at most two. The directory need not exist yet.
func New(dir string, names ...string) (_ *Watcher, err error) {
	if len(names) == 0 || len(names) > maxNames {
		return nil, fmt.Errorf("watch %s: want 1 to %d names, got %d", dir, maxNames, len(names))
	}
	w := &Watcher{
		dir: dir, names: slices.Clone(names), mountinfo: -1, inotify: -1, wakeup: -1, watched: -1, every: -1,
		changes: make(chan struct{}, 1), done: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("watch %s: %w", dir, err), w.release())
		}
	}()
	// The kernel signals mounts by poll(2) on this file.
	if w.mountinfo, err = unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	// All guests with the same id map share one limit of inotify instances. If it
	// is used up, the directory is looked at from time to time.
	if w.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		w.inotify, w.every = -1, lookEvery
	}
	if w.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, err
	}
	if err := w.follow(); err != nil {
		return nil, err
	}
	go w.loop()
	return w, nil
}

// Changes returns a channel that holds one token if something may have changed
// since the last one was taken.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Look returns what is in the mount now.
func (w *Watcher) Look() State {
	s := State{turns: w.turns.Load()}
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, w.dir, 0, unix.STATX_MNT_ID|unix.STATX_MNT_ID_UNIQUE, &x); err == nil {
		s.mount = x.Mnt_id
	}
	for i, name := range w.names {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(w.dir, name), &st); err != nil {
			continue // absent or not visible, which is the same here
		}
		s.files[i] = file{device: st.Dev, inode: st.Ino, size: st.Size, changed: st.Ctim.Nano()}
	}
	return s
}

// Close ends the watch.
func (w *Watcher) Close() (err error) {
	w.close.Do(func() {
		if _, err = unix.Write(w.wakeup, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			err = fmt.Errorf("end the watch of %s: %w", w.dir, err)
			return
		}
		<-w.done
		err = w.release()
	})
	return err
}

func (w *Watcher) release() error {
	var err error
	for _, fd := range []int{w.mountinfo, w.inotify, w.wakeup} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

// follow moves the watch to the directory that is at the path now: after a mount
// or unmount it is another one.
func (w *Watcher) follow() error {
	if w.inotify < 0 {
		return nil
	}
	now, err := unix.InotifyAddWatch(w.inotify, w.dir, directoryEvents)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM) { // the same for the limit of watches
		w.every = lookEvery
		return nil
	}
	w.every = -1
	if errors.Is(err, unix.EACCES) { // it can be passed through but not watched
		w.every = lookEvery
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES) {
		now, err = -1, nil // there is nothing to see before a mount
	}
	if err != nil {
		return err
	}
	if w.watched == now {
		return nil
	}
	if w.watched >= 0 {
		// This fails if the kernel has removed the watch with its directory.
		_, _ = unix.InotifyRmWatch(w.inotify, uint32(w.watched))
	}
	w.watched = now
	w.turns.Add(1)
	return nil
}

func (w *Watcher) loop() {
	defer close(w.done)
	buffer := make([]byte, 16<<10)
	for {
		fds := []unix.PollFd{
			{Fd: int32(w.wakeup), Events: unix.POLLIN},
			{Fd: int32(w.inotify), Events: unix.POLLIN}, // poll ignores -1
			{Fd: int32(w.mountinfo), Events: unix.POLLPRI},
		}
		n, err := unix.Poll(fds, w.every)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return // does not happen: only this process has the descriptors, and it keeps them open
		}
		if fds[0].Revents != 0 {
			return
		}
		notify := n == 0
		if fds[1].Revents != 0 {
			n, err := unix.Read(w.inotify, buffer)
			notify = err != nil || w.concerns(buffer[:max(n, 0)])
		}
		if fds[2].Revents != 0 { // any mount of this namespace; the poll has consumed it
			_ = w.follow() // Look is right without it
			notify = true
		}
		if notify {
			select {
			case w.changes <- struct{}{}:
			default: // it holds a token already
			}
		}
	}
}

// concerns reports whether events are about our names, or about the directory as a whole.
func (w *Watcher) concerns(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		e := parse(events)
		end := unix.SizeofInotifyEvent + int(e.length)
		if end > len(events) {
			return true // incomplete: one look too many is better
		}
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00")
		if name == "" || slices.Contains(w.names, name) {
			return true
		}
		events = events[end:]
	}
	return false
}
