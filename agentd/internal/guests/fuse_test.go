package guests_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// cluster is a file system that behaves as pmxcfs does, on a directory. Each
// mount of it is a node: locks on files are the node's own, renames and the
// making of directories are the cluster's.
type cluster struct {
	dir      string
	noQuorum atomic.Bool // every change is EACCES, and reads work
	full     atomic.Bool // every write is ENOSPC

	isDisk bool // a local disk instead: every call of a disk works, and syncs are noted

	mu  sync.Mutex
	log []operation
}

// operation is one change, for the simulation of a power cut.
type operation struct {
	kind     string // create, write, truncate, sync, rename, unlink, mkdir, rmdir, syncdir
	path, to string
	offset   int64
	data     []byte
}

const (
	maxClusterFile = 1 << 20
	wwwData        = 33
)

func (c *cluster) note(o operation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, o)
}

// changes returns the changes so far.
func (c *cluster) changes() []operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// length returns the number of changes so far.
func (c *cluster) length() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.log)
}

// refuses returns why a change is refused now.
func (c *cluster) refuses() syscall.Errno {
	if c.noQuorum.Load() {
		return syscall.EACCES
	}
	return 0
}

// mount mounts the file system as another node sees it.
func (c *cluster) mount(t *testing.T) string {
	t.Helper()
	at := t.TempDir()
	t.Cleanup(c.mountAt(t, at))
	return at
}

func (c *cluster) mountAt(t *testing.T, at string) (unmount func()) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(c.dir, &st); err != nil {
		t.Fatal(err)
	}
	data := &fs.LoopbackRoot{Path: c.dir, Dev: st.Dev}
	root := &node{LoopbackNode: fs.LoopbackNode{RootData: data}, c: c}
	data.RootNode = root
	zero := time.Duration(0)
	_, err := fs.Mount(at, root, &fs.Options{
		AttrTimeout: &zero, EntryTimeout: &zero,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "pmxcfs-test", DisableXAttrs: !c.isDisk},
	})
	if err != nil {
		t.Fatalf("mount by FUSE: %v", err)
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			// The descriptors of stores keep a detached mount alive: it is ended.
			_ = unix.Unmount(at, unix.MNT_FORCE)
			_ = unix.Unmount(at, unix.MNT_DETACH)
		})
	}
}

// needFUSE skips the test on a machine without FUSE. What of it is independent of
// FUSE runs in TestStoreConformance on a local disk and in TestReadOnlyStore.
func needFUSE(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("FUSE is missing: %v; modprobe fuse, and mknod /dev/fuse c 10 229", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// newCluster returns a file system with the directories that PVE makes.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	needFUSE(t)
	c := &cluster{dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(c.dir, "priv/lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

type node struct {
	fs.LoopbackNode
	c *cluster
}

// WrapChild implements fs.NodeWrapChilder.
func (n *node) WrapChild(context.Context, fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: n.RootData}, c: n.c}
}

func (n *node) at(name string) string { return filepath.Join(n.Path(n.Root()), name) }

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if e := n.c.refuses(); e != 0 {
		return nil, nil, 0, e
	}
	if !n.c.isDisk {
		mode = 0o600
	}
	inode, inner, _, e := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if e != 0 {
		return nil, nil, 0, e
	}
	n.c.note(operation{kind: "create", path: n.at(name)})
	return inode, &file{inner, n.c, inode}, fuse.FOPEN_DIRECT_IO, 0
}

// Open implements fs.NodeOpener.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if e := n.c.refuses(); e != 0 && flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, e
	}
	inner, _, e := n.LoopbackNode.Open(ctx, flags)
	if e != 0 {
		return nil, 0, e
	}
	return &file{inner, n.c, n.EmbeddedInode()}, fuse.FOPEN_DIRECT_IO, 0
}

// change makes a change and notes it.
func (n *node) change(o operation, work func() syscall.Errno) syscall.Errno {
	if e := n.c.refuses(); e != 0 {
		return e
	}
	e := work()
	if e == 0 {
		n.c.note(o)
	}
	return e
}

// Mkdir implements fs.NodeMkdirer.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (inode *fs.Inode, e syscall.Errno) {
	e = n.change(operation{kind: "mkdir", path: n.at(name)}, func() (e syscall.Errno) {
		inode, e = n.LoopbackNode.Mkdir(ctx, name, mode, out)
		return e
	})
	return inode, e
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.change(operation{kind: "unlink", path: n.at(name)}, func() syscall.Errno { return n.LoopbackNode.Unlink(ctx, name) })
}

// Rmdir implements fs.NodeRmdirer.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.change(operation{kind: "rmdir", path: n.at(name)}, func() syscall.Errno { return n.LoopbackNode.Rmdir(ctx, name) })
}

// Rename implements fs.NodeRenamer.
func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if !n.c.isDisk && flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EINVAL
	}
	other := parent.(*node)
	return n.change(operation{kind: "rename", path: n.at(name), to: other.at(to)}, func() syscall.Errno {
		return n.LoopbackNode.Rename(ctx, name, parent, to, flags)
	})
}

// Link implements fs.NodeLinker.
func (n *node) Link(context.Context, fs.InodeEmbedder, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

// Symlink implements fs.NodeSymlinker.
func (n *node) Symlink(context.Context, string, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOSYS
}

// Mknod implements fs.NodeMknoder.
func (n *node) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOSYS
}

// Setattr implements fs.NodeSetattrer.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if e := n.c.refuses(); e != 0 {
		return e
	}
	if !n.c.isDisk {
		want := uint32(0o600)
		if n.IsDir() {
			want = 0o1777 // no chmod of directories at all
		}
		if mode, ok := in.GetMode(); ok && mode&0o7777 != want {
			return syscall.EPERM
		}
		uid, isUID := in.GetUID()
		gid, isGID := in.GetGID()
		if isUID && uid != 0 || isGID && gid != 0 && gid != wwwData {
			return syscall.EPERM
		}
	}
	if size, ok := in.GetSize(); ok {
		n.c.note(operation{kind: "truncate", path: n.at(""), offset: int64(size)})
	}
	if handle, ok := f.(*file); ok {
		f = handle.FileHandle
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

// Fsync implements fs.NodeFsyncer: pmxcfs has none, which the kernel reports as
// a success.
func (n *node) Fsync(_ context.Context, f fs.FileHandle, _ uint32) syscall.Errno {
	if !n.c.isDisk {
		return syscall.ENOSYS
	}
	kind := "sync"
	if n.IsDir() {
		kind = "syncdir"
	}
	path := n.at("")
	if handle, ok := f.(*file); ok {
		path = handle.inode.Path(nil)
	}
	n.c.note(operation{kind: kind, path: path})
	return 0
}

// CopyFileRange implements fs.NodeCopyFileRanger.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// file is an open file of a cluster.
type file struct {
	fs.FileHandle
	c     *cluster
	inode *fs.Inode
}

// Read implements fs.FileReader.
func (f *file) Read(ctx context.Context, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	return f.FileHandle.(fs.FileReader).Read(ctx, dest, offset)
}

// Write implements fs.FileWriter.
func (f *file) Write(ctx context.Context, data []byte, offset int64) (uint32, syscall.Errno) {
	switch {
	case f.c.refuses() != 0:
		return 0, f.c.refuses()
	case f.c.full.Load():
		return 0, syscall.ENOSPC
	case !f.c.isDisk && offset+int64(len(data)) > maxClusterFile:
		return 0, syscall.EFBIG
	}
	n, e := f.FileHandle.(fs.FileWriter).Write(ctx, data, offset)
	if e == 0 {
		f.c.note(operation{kind: "write", path: f.inode.Path(nil), offset: offset, data: append([]byte(nil), data[:n]...)})
	}
	return n, e
}

// Flush implements fs.FileFlusher.
func (f *file) Flush(ctx context.Context) syscall.Errno {
	return f.FileHandle.(fs.FileFlusher).Flush(ctx)
}

// Release implements fs.FileReleaser.
func (f *file) Release(ctx context.Context) syscall.Errno {
	return f.FileHandle.(fs.FileReleaser).Release(ctx)
}

// Getattr implements fs.FileGetattrer.
func (f *file) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return f.FileHandle.(fs.FileGetattrer).Getattr(ctx, out)
}

// The file system of these tests behaves as the table of pmxcfs says: else they
// would prove nothing.
func TestClusterFileSystem(t *testing.T) {
	c := newCluster(t)
	one, two := c.mount(t), c.mount(t)
	dir := filepath.Join(one, "priv")
	name := filepath.Join(dir, "f")
	write := func() error { return os.WriteFile(name, make([]byte, 100), 0o600) }
	if err := write(); err != nil {
		t.Fatal(err)
	}
	big := func() error { return os.WriteFile(filepath.Join(dir, "big"), make([]byte, maxClusterFile+1), 0o600) }
	fails := map[string]struct {
		got, want error
	}{
		"chmod 0640":        {os.Chmod(name, 0o640), syscall.EPERM},
		"chmod 0600":        {os.Chmod(name, 0o600), nil},
		"chmod a directory": {os.Chmod(dir, 0o700), syscall.EPERM},
		"chown":             {os.Chown(name, 100000, 100000), syscall.EPERM},
		"chown www-data":    {os.Chown(name, 0, wwwData), nil},
		"hard link":         {os.Link(name, name+"2"), syscall.EPERM},
		"symbolic link":     {os.Symlink(name, name+"3"), syscall.ENOSYS},
		"pipe":              {syscall.Mkfifo(name+"4", 0o600), syscall.ENOSYS},
		"large file":        {big(), syscall.EFBIG},
		"attribute":         {unix.Setxattr(name, "user.x", []byte("y"), 0), syscall.EOPNOTSUPP},
		"lock directory":    {os.Mkdir(filepath.Join(two, "priv/lock/x"), 0o700), nil},
		"locked":            {os.Mkdir(filepath.Join(one, "priv/lock/x"), 0o700), syscall.EEXIST},
	}
	for what, c := range fails {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Errorf("fsync: %v, want success", err)
	}
	c.noQuorum.Store(true)
	_, readErr := os.ReadFile(filepath.Join(two, "priv/f"))
	for what, err := range map[string]error{"write": write(), "rename": os.Rename(name, name+"5"), "remove": os.Remove(name), "mkdir": os.Mkdir(filepath.Join(dir, "d"), 0o700)} {
		if !errors.Is(err, syscall.EACCES) {
			t.Errorf("without quorum, %s: %v, want EACCES", what, err)
		}
	}
	if readErr != nil {
		t.Errorf("without quorum, read: %v", readErr)
	}
}

// directory is an open directory of a cluster.
type directory struct {
	fs.FileHandle
	n *node
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	inner, _, e := n.LoopbackNode.OpendirHandle(ctx, flags)
	return &directory{inner, n}, 0, e
}

// Readdirent implements fs.FileReaddirenter.
func (d *directory) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	return d.FileHandle.(fs.FileReaddirenter).Readdirent(ctx)
}

// Seekdir implements fs.FileSeekdirer.
func (d *directory) Seekdir(ctx context.Context, offset uint64) syscall.Errno {
	return d.FileHandle.(fs.FileSeekdirer).Seekdir(ctx, offset)
}

// Releasedir implements fs.FileReleasedirer.
func (d *directory) Releasedir(ctx context.Context, flags uint32) {
	d.FileHandle.(fs.FileReleasedirer).Releasedir(ctx, flags)
}

// Fsyncdir implements fs.FileFsyncdirer.
func (d *directory) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return d.n.Fsync(ctx, nil, flags)
}
