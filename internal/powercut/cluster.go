// Package powercut is a file system for tests, by FUSE, that notes each change, and a
// simulation of the loss of power after any of them: call [NewDisk], [Cluster.Mount], work on it, and write
// what [After] returns for each prefix of [Cluster.Changes] to another directory, where the work must
// start again. [New] is the cluster file system of Proxmox VE instead.
package powercut

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Cluster is a file system that behaves as pmxcfs does, on a directory. Each
// mount of it is a node: locks on files are the node's own, renames and the
// making of directories are the cluster's.
type Cluster struct {
	Dir      string
	NoQuorum atomic.Bool // every change is EACCES, and reads work
	Full     atomic.Bool // every write is ENOSPC
	Broken   atomic.Bool // every read of a file is EIO

	// Noted is called after each change with the number of changes so far, before the program
	// that made the change continues. It is set before the first mount.
	Noted func(changes int)

	isDisk bool // a local disk instead: every call of a disk works, and syncs are noted

	mu  sync.Mutex
	log []Operation
}

// Facts of pmxcfs.
const (
	MaxFile = 1 << 20 // of pmxcfs
	WWWData = 33      // the group of its files
)

// refuses returns why a change is refused now.
func (c *Cluster) refuses() syscall.Errno {
	if c.NoQuorum.Load() {
		return syscall.EACCES
	}
	return 0
}

// Mount mounts the file system as another node sees it.
func (c *Cluster) Mount(t testing.TB) string {
	t.Helper()
	at := t.TempDir()
	t.Cleanup(c.MountAt(t, at))
	return at
}

// MountAt is Mount at a directory, until unmount is called. It is safe to repeat.
func (c *Cluster) MountAt(t testing.TB, at string) (unmount func()) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(c.Dir, &st); err != nil {
		t.Fatal(err)
	}
	data := &fs.LoopbackRoot{Path: c.Dir, Dev: st.Dev}
	open := &handles{}
	root := &node{LoopbackNode: fs.LoopbackNode{RootData: data}, c: c, open: open}
	data.RootNode = root
	zero := time.Duration(0)
	server, err := fs.Mount(at, root, &fs.Options{
		AttrTimeout: &zero, EntryTimeout: &zero,
		// go-fuse keeps the pipes that it splices by, and /dev/null, for the whole process.
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "pmxcfs-test", DisableXAttrs: !c.isDisk, DisableSplice: true},
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
			server.Wait()
			open.close()
		})
	}
}

// needFUSE skips the test on a machine without FUSE. What of the store's tests is independent of
// FUSE runs in its TestStoreConformance on a local disk and in TestReadOnlyStore.
func needFUSE(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("FUSE is missing: %v; modprobe fuse, and mknod /dev/fuse c 10 229", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// New returns a file system with the directories that PVE makes.
func New(t testing.TB) *Cluster {
	t.Helper()
	needFUSE(t)
	c := &Cluster{Dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(c.Dir, "priv/lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

// NewDisk returns an empty local disk.
func NewDisk(t testing.TB) *Cluster {
	t.Helper()
	needFUSE(t)
	return &Cluster{Dir: t.TempDir(), isDisk: true}
}

type node struct {
	fs.LoopbackNode
	c    *Cluster
	open *handles
}

// WrapChild implements fs.NodeWrapChilder.
func (n *node) WrapChild(context.Context, fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: n.RootData}, c: n.c, open: n.open}
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
	n.c.note(Operation{kind: "create", path: n.at(name)})
	return inode, n.opened(inner, inode), fuse.FOPEN_DIRECT_IO, 0
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
	return n.opened(inner, n.EmbeddedInode()), fuse.FOPEN_DIRECT_IO, 0
}

// change makes a change and notes it.
func (n *node) change(o Operation, work func() syscall.Errno) syscall.Errno {
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
	e = n.change(Operation{kind: "mkdir", path: n.at(name)}, func() (e syscall.Errno) {
		inode, e = n.LoopbackNode.Mkdir(ctx, name, mode, out)
		return e
	})
	return inode, e
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.change(Operation{kind: "unlink", path: n.at(name)}, func() syscall.Errno { return n.LoopbackNode.Unlink(ctx, name) })
}

// Rmdir implements fs.NodeRmdirer.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.change(Operation{kind: "rmdir", path: n.at(name)}, func() syscall.Errno { return n.LoopbackNode.Rmdir(ctx, name) })
}

// Rename implements fs.NodeRenamer.
func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if !n.c.isDisk && flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EINVAL
	}
	other := parent.(*node)
	return n.change(Operation{kind: "rename", path: n.at(name), to: other.at(to)}, func() syscall.Errno {
		return n.LoopbackNode.Rename(ctx, name, parent, to, flags)
	})
}

// Link implements fs.NodeLinker: pmxcfs has no second names.
func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (inode *fs.Inode, e syscall.Errno) {
	if !n.c.isDisk {
		return nil, syscall.EPERM
	}
	from := target.EmbeddedInode().Path(nil)
	e = n.change(Operation{kind: "link", path: from, to: n.at(name)}, func() (e syscall.Errno) {
		inode, e = n.LoopbackNode.Link(ctx, target, name, out)
		return e
	})
	return inode, e
}

// Symlink implements fs.NodeSymlinker.
func (n *node) Symlink(context.Context, string, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOSYS
}

// Mknod implements fs.NodeMknoder.
func (n *node) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOSYS
}

// Tmpfile implements fs.NodeTmpfiler: pmxcfs has no files without a name.
func (n *node) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.ENOSYS
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
		if isUID && uid != 0 || isGID && gid != 0 && gid != WWWData {
			return syscall.EPERM
		}
	}
	if size, ok := in.GetSize(); ok {
		n.c.note(Operation{kind: "truncate", path: n.at(""), offset: int64(size)})
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
	n.c.note(Operation{kind: kind, path: path})
	return 0
}

// CopyFileRange implements fs.NodeCopyFileRanger.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// file is an open file of a Cluster.
type file struct {
	fs.FileHandle
	c     *Cluster
	inode *fs.Inode
	open  *handles
}

func (n *node) opened(inner fs.FileHandle, inode *fs.Inode) *file {
	f := &file{inner, n.c, inode, n.open}
	n.open.add(f, func() { _ = f.Release(context.Background()) }) // nothing is asked of it any more
	return f
}

// Read implements fs.FileReader.
func (f *file) Read(ctx context.Context, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	if f.c.Broken.Load() {
		return nil, syscall.EIO
	}
	return f.FileHandle.(fs.FileReader).Read(ctx, dest, offset)
}

// Write implements fs.FileWriter.
func (f *file) Write(ctx context.Context, data []byte, offset int64) (uint32, syscall.Errno) {
	switch {
	case f.c.refuses() != 0:
		return 0, f.c.refuses()
	case f.c.Full.Load():
		return 0, syscall.ENOSPC
	case !f.c.isDisk && offset+int64(len(data)) > MaxFile:
		return 0, syscall.EFBIG
	}
	n, e := f.FileHandle.(fs.FileWriter).Write(ctx, data, offset)
	if e == 0 {
		f.c.note(Operation{kind: "write", path: f.inode.Path(nil), offset: offset, data: append([]byte(nil), data[:n]...)})
	}
	return n, e
}

// Flush implements fs.FileFlusher. The kernel does not ask again after ENOSYS. With it each close
// waits for an answer: that of a killed process for ever, because it is the server itself, and
// that of a child before its exec while the runtime of this process has stopped for it.
func (f *file) Flush(context.Context) syscall.Errno { return syscall.ENOSYS }

// Release implements fs.FileReleaser.
func (f *file) Release(ctx context.Context) syscall.Errno {
	f.open.remove(f)
	return f.FileHandle.(fs.FileReleaser).Release(ctx)
}

// Getattr implements fs.FileGetattrer.
func (f *file) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return f.FileHandle.(fs.FileGetattrer).Getattr(ctx, out)
}

// directory is an open directory of a Cluster.
type directory struct {
	fs.FileHandle
	n *node
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	inner, _, e := n.LoopbackNode.OpendirHandle(ctx, flags)
	if e != 0 {
		return nil, 0, e
	}
	d := &directory{inner, n}
	n.open.add(d, func() { d.Releasedir(context.Background(), 0) })
	return d, 0, 0
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
	d.n.open.remove(d)
	d.FileHandle.(fs.FileReleasedirer).Releasedir(ctx, flags)
}

// Fsyncdir implements fs.FileFsyncdirer.
func (d *directory) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return d.n.Fsync(ctx, nil, flags)
}
