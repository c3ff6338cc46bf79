package guests

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
)

// clusterRoot is where PVE mounts the files that all nodes of a cluster share.
const clusterRoot = "/etc/pve"

// MakeShared makes a directory that may be on the cluster's file system. Below
// /etc/pve nothing is made unless that file system is mounted: on the disk
// below it, an empty store would take the place of the cluster's.
func MakeShared(dir string) error {
	if dir == clusterRoot || strings.HasPrefix(dir, clusterRoot+"/") {
		var st unix.Statfs_t
		if err := unix.Statfs(clusterRoot, &st); err != nil {
			return notMounted(err)
		}
		if st.Type != unix.FUSE_SUPER_MAGIC {
			return notMounted(fmt.Errorf("type %#x", st.Type))
		}
	}
	if err := atomicfile.MakeDirectory(dir, 0o700); err != nil {
		return ReadOnly(err)
	}
	return nil
}

func notMounted(cause error) error {
	return fault.WrapHint(fault.NotReady, fmt.Errorf("the cluster's file system is not mounted at %s: %w", clusterRoot, cause), "systemctl status pve-cluster")
}

// ErrReadOnly means that the directory takes no changes now: on PVE's cluster
// file system, that the cluster has no quorum.
var ErrReadOnly = errors.New("read-only file system")

// ReadOnly gives err, if it is that the directory takes no changes, its kind and
// a hint.
func ReadOnly(err error) error {
	for _, cause := range []error{unix.EACCES, unix.EPERM, unix.EROFS} {
		if errors.Is(err, cause) && !errors.Is(err, ErrReadOnly) {
			return fault.WrapHint(fault.NotReady, fmt.Errorf("%w: %w", ErrReadOnly, err),
				"nothing was changed, and guests keep working with the tokens that they have; on PVE check the quorum: pvecm status")
		}
	}
	return err
}

// shared is a directory that may be on the cluster's file system, which can be
// mounted again while the program runs.
type shared struct {
	path    string
	cluster string // directory that is the cluster's lock; "": there is no cluster
	now     atomic.Pointer[os.Root]

	mu  sync.Mutex
	old []*os.Root // of mounts that are gone; others may still be using them
}

func (d *shared) open(path string) error {
	d.path, d.cluster = path, clusterLock(path)
	if err := MakeShared(path); err != nil {
		return err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	d.now.Store(root)
	return nil
}

func (d *shared) root() *os.Root { return d.now.Load() }

// reopen opens the directory again if the file system that it was on has ended,
// and reports whether it did. After a restart of pmxcfs the old descriptor would
// fail for ever.
func (d *shared) reopen() bool {
	_, err := d.root().Stat(".")
	if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ESTALE) && !errors.Is(err, unix.ECONNABORTED) {
		return false
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return false // not mounted yet
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.old = append(d.old, d.now.Swap(root))
	return true
}

func (d *shared) close() (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, root := range append(d.old, d.root()) {
		if root != nil {
			err = errors.Join(err, root.Close())
		}
	}
	return err
}

// clusterLock returns the directory whose making is the lock of a store on
// pmxcfs, where locks on files are the node's own; "" if dir is elsewhere.
// pmxcfs ends a lock that its holder left for two minutes.
func clusterLock(dir string) string {
	for at := filepath.Clean(dir); at != "/"; at = filepath.Dir(at) {
		if filepath.Base(at) != "priv" {
			continue
		}
		locks := filepath.Join(at, "lock")
		var st unix.Statfs_t
		if unix.Statfs(locks, &st) == nil && st.Type == unix.FUSE_SUPER_MAGIC {
			return filepath.Join(locks, "felhom-guests")
		}
	}
	return ""
}

// lockPause is how long the cluster's lock is left alone between two tries:
// each is a message to all nodes.
const lockPause = 50 * time.Millisecond

// lockBoth takes the node's lock and then the cluster's, if there is one, and
// waits for both until ctx is done.
func (s *Store) lockBoth(ctx context.Context) (unlock func() error, err error) {
	unlockNode, err := filelock.Wait(ctx, s.lock)
	if err != nil || s.records.cluster == "" {
		return unlockNode, err
	}
	name := s.records.cluster
	var began time.Time
	for {
		began = s.now()
		if err = os.Mkdir(name, 0o700); err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(ReadOnly(fmt.Errorf("lock of the cluster: %w", err)), unlockNode())
		}
		// Asks pmxcfs to end the lock, if its holder has ended. Without quorum this
		// is refused, and no node can end it.
		if err := ReadOnly(os.Chtimes(name, time.Unix(0, 0), time.Unix(0, 0))); errors.Is(err, ErrReadOnly) {
			return nil, errors.Join(err, unlockNode())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, context.Cause(ctx)), unlockNode())
		case <-time.After(lockPause):
		}
	}
	made, err := os.Lstat(name)
	if err != nil {
		made = nil
	}
	return func() error {
		if s.now().Sub(began) < lockLife || isSame(made, name) {
			// What was done under the lock is done: pmxcfs ends the lock by itself.
			_ = os.Remove(name)
		}
		return unlockNode()
	}, nil
}

// lockLife is below the two minutes after which pmxcfs gives a lock to another
// node that asks for it: the directory may be that node's then.
const lockLife = 100 * time.Second

// isSame reports whether the directory is the one that was made. pmxcfs sets its
// time when it is made.
func isSame(made fs.FileInfo, name string) bool {
	now, err := os.Lstat(name)
	return made != nil && err == nil && os.SameFile(made, now) && made.ModTime().Equal(now.ModTime())
}
