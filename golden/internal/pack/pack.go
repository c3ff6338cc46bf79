// Package pack writes a sealed root directory and an overlay as an archive. Call
// [Pack]. It decides which files are in the archive and in which order, and
// keeps compressed frames in a cache, which makes a second build cheap.
//
// The format is internal/vzdump's. pack changes nothing in the root, follows
// no symbolic link, gives no identity to a file that a rule should have
// removed (seal), and does not judge the result (verify).
package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/sums"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Source is what goes into the archive.
type Source struct {
	Root    string         // directory of the sealed root file system
	Overlay []overlay.File // laid over it, in any order; each path once
	Profile Profile        // what of Root stays out; the zero value keeps all
	Config  pctconf.Config // becomes ./etc/vzdump/pct.conf
}

// Output says where and how the archive is written.
type Output struct {
	Path    string         // of the archive; its directory must exist
	Force   bool           // replace an archive that already exists
	Epoch   time.Time      // SOURCE_DATE_EPOCH: no member is newer; whole seconds
	Setting vzdump.Setting // fast or release

	// CacheDir keeps archives with the compressed frames of Root, and CacheKey names Root's
	// content: equal keys promise equal trees. Both empty: no cache.
	CacheDir string
	CacheKey string
}

// Progress is called now and then with the bytes of content written so far and
// in all. It must be quick, and may be nil.
type Progress func(done, total int64)

// Result is a finished archive.
type Result struct {
	Path       string
	SHA256     string   // hex
	Size       int64    // bytes
	Entries    int      // members, the two config members included
	Unpacked   int64    // bytes of file content
	BaseReused bool     // the frames of Root came from the cache
	BaseAt     int64    // where these frames begin in the archive
	BaseKey    string   // names them in the cache; "" without one
	Dropped    []string // "path: attribute" that restore would drop and so is not stored
}

// Pack writes the archive. On an error, also a full disk or a cancelled ctx,
// there is no new archive.
func Pack(ctx context.Context, src Source, out Output, progress Progress) (_ Result, err error) {
	if err := check(src, out); err != nil {
		return Result{}, err
	}
	j := &job{src: src, out: out, progress: progress, epoch: out.Epoch.Truncate(time.Second)}
	if out.CacheDir != "" {
		if j.cache, err = cachedir.Open(out.CacheDir); err != nil {
			return Result{}, fmt.Errorf("pack %s: %w", out.Path, err)
		}
		defer func() { err = errors.Join(err, j.cache.Close()) }()
	}
	res, err := j.run(ctx, true)
	if errors.Is(err, errDamaged) {
		res, err = j.run(ctx, false)
	}
	return res, err
}

// run makes the archive, with the cached base if useCache and if there is one.
func (j *job) run(ctx context.Context, useCache bool) (_ Result, err error) {
	j.members, j.entries, j.done = vzdump.NewMembers(), 0, 0
	base, err := j.plan(ctx, useCache)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, base.close()) }()
	dir := filepath.Dir(j.out.Path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(j.out.Path)+".*.tmp")
	if err != nil {
		return Result{}, fmt.Errorf("pack %s: %w", j.out.Path, err)
	}
	defer func() {
		err = errors.Join(err, ignoreNotExist(os.Remove(tmp.Name())))
	}()
	w := newSink(tmp)
	err = j.write(ctx, w, base)
	sum := w.close()
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return Result{}, explain(fmt.Errorf("pack %s: %w", j.out.Path, err), dir)
	}
	res := Result{
		Path: j.out.Path, SHA256: hex.EncodeToString(sum), Size: w.size, Entries: j.entries,
		Unpacked: j.done, BaseReused: base.cached != nil, Dropped: j.dropped,
		BaseAt: j.baseAt, BaseKey: j.key,
	}
	if j.cache != nil && base.cached == nil {
		if err := j.keep(tmp.Name(), res, base); err != nil {
			return Result{}, explain(fmt.Errorf("pack %s: %w", j.out.Path, err), dir)
		}
	}
	move := os.Link // fails if the file was made meanwhile
	if j.out.Force {
		move = os.Rename
	}
	if err := move(tmp.Name(), j.out.Path); err != nil {
		return Result{}, fmt.Errorf("pack %s: %w", j.out.Path, err)
	}
	return res, nil
}

// sink is the archive while it is written: it counts, takes the digest, and has
// the kernel write to the disk meanwhile, so that the final sync is short.
type sink struct {
	file   *os.File
	sums   *sums.Summer
	size   int64
	pushed int64 // bytes that the kernel was told to write
}

// pushBytes is what is written to the disk at a time.
const pushBytes = 8 << 20

func newSink(f *os.File) *sink { return &sink{file: f, sums: sums.New(sha256.New())} }

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	_, _ = s.sums.Write(p[:n]) // never fails
	s.size += int64(n)
	if s.size-s.pushed >= pushBytes {
		// A hint: what it cannot do, the sync at the end does.
		_ = unix.SyncFileRange(int(s.file.Fd()), s.pushed, s.size-s.pushed, unix.SYNC_FILE_RANGE_WRITE)
		s.pushed = s.size
	}
	return n, err
}

// close returns the digest of what was written. The file stays open.
func (s *sink) close() (sum []byte) {
	s.sums.End(func(b []byte) { sum = bytes.Clone(b) })
	s.sums.Close()
	return sum
}

func check(src Source, out Output) error {
	switch {
	case out.Path == "":
		return fault.Errorf(fault.Misuse, "pack: no path for the archive")
	case out.Setting != vzdump.Fast && out.Setting != vzdump.Release:
		return fault.Errorf(fault.Misuse, "pack: no compression setting")
	case out.Epoch.Unix() < 0:
		return fault.Errorf(fault.Misuse, "pack: the epoch %s is before 1970", out.Epoch)
	case (out.CacheDir == "") != (out.CacheKey == ""):
		return fault.Errorf(fault.Misuse, "pack: a cache needs a directory and a key")
	}
	_, err := os.Lstat(out.Path)
	switch {
	case err == nil && !out.Force:
		return fault.WrapHint(fault.Misuse, fmt.Errorf("pack: %s exists", out.Path), "name another file, or replace it with --force")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("pack: %w", err)
	}
	if _, bad := pctconf.Parse(src.Config.Format()); len(bad) > 0 {
		for _, f := range bad {
			if f.Severity == pctconf.Error {
				return fault.Errorf(fault.Invalid, "pack: the guest's configuration: %s", f)
			}
		}
	}
	return nil
}

// explain adds a hint where the error has an obvious way out.
func explain(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.WrapHint(fault.Of(err), err, "free space in "+dir+", or in the cache's directory; no partial file was kept")
	}
	return err
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
