// Package pack writes a sealed root directory and an overlay as an archive. Call
// [Pack]. It decides which files are in the archive and in which order, and
// keeps compressed frames in a cache, which makes a second build cheap.
//
// The format is internal/vzdump's. pack changes nothing in the root, follows
// no symbolic link, gives no identity to a file that a rule should have
// removed (seal), and does not judge the result (verify).
package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Source is what goes into the archive.
type Source struct {
	Root    string         // directory of the sealed root file system
	Overlay []File         // laid over it, in any order; each path once
	Profile Profile        // what of Root stays out; the zero value keeps all
	Config  pctconf.Config // becomes ./etc/vzdump/pct.conf
}

// File is one thing laid over the root: a regular file (Data or Source), a
// symbolic link, or a directory. It has the fields of stage.File, so that one
// converts into the other.
type File struct {
	Path     string      // in the guest, without the leading slash
	Mode     fs.FileMode // fs.ModeDir and fs.ModeSymlink say the kind; permission, set-id and sticky bits
	UID, GID int
	Data     []byte
	Source   string // file on this machine to read in place of Data
	Link     string // target of a link
}

// Output says where and how the archive is written.
type Output struct {
	Path    string         // of the archive; its directory must exist
	Force   bool           // replace an archive that is there
	Epoch   time.Time      // SOURCE_DATE_EPOCH: no member is newer; whole seconds
	Setting vzdump.Setting // fast or release

	// CacheDir keeps the compressed frame of Root, and CacheKey names Root's
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
	SHA256     string // hex
	Size       int64  // bytes
	Entries    int    // members, the two config members included
	Unpacked   int64  // bytes of file content
	BaseReused bool   // the frame of Root came from the cache
	Manifest   []ManifestEntry
	Dropped    []string // "path: attribute" that restore would drop and so is not stored
}

// ManifestEntry is one member as it was written.
type ManifestEntry struct {
	Path   string            `json:"path"`
	Type   string            `json:"type"`
	Mode   uint32            `json:"mode"`
	UID    int               `json:"uid"`
	GID    int               `json:"gid"`
	Size   int64             `json:"size,omitempty"`
	SHA256 string            `json:"sha256,omitempty"` // of a file's content
	Link   string            `json:"link,omitempty"`
	Time   int64             `json:"mtime"` // Unix seconds
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

// Pack writes the archive. On an error, also a full disk or a cancelled ctx,
// no archive is there that was not there before.
func Pack(ctx context.Context, src Source, out Output, progress Progress) (_ Result, err error) {
	if err := check(src, out); err != nil {
		return Result{}, err
	}
	j := &job{src: src, out: out, progress: progress, epoch: out.Epoch.Truncate(time.Second), members: vzdump.NewMembers()}
	if out.CacheDir != "" {
		if j.cache, err = cachedir.Open(out.CacheDir); err != nil {
			return Result{}, fmt.Errorf("pack %s: %w", out.Path, err)
		}
		defer func() { err = errors.Join(err, j.cache.Close()) }()
	}
	base, err := j.plan(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, base.close()) }()

	tmp, err := os.CreateTemp(filepath.Dir(out.Path), "."+filepath.Base(out.Path)+".*.tmp")
	if err != nil {
		return Result{}, fmt.Errorf("pack %s: %w", out.Path, err)
	}
	defer func() {
		err = errors.Join(err, ignoreNotExist(os.Remove(tmp.Name())))
	}()
	hash := sha256.New()
	err = j.write(ctx, io.MultiWriter(tmp, hash), base)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return Result{}, explain(fmt.Errorf("pack %s: %w", out.Path, err), filepath.Dir(out.Path))
	}
	info, err := os.Stat(tmp.Name())
	if err != nil {
		return Result{}, fmt.Errorf("pack %s: %w", out.Path, err)
	}
	move := os.Link // fails on a file that came meanwhile
	if out.Force {
		move = os.Rename
	}
	if err := move(tmp.Name(), out.Path); err != nil {
		return Result{}, fmt.Errorf("pack %s: %w", out.Path, err)
	}
	return Result{
		Path: out.Path, SHA256: hex.EncodeToString(hash.Sum(nil)), Size: info.Size(), Entries: len(j.manifest),
		Unpacked: j.done, BaseReused: base.cached, Manifest: j.manifest, Dropped: j.dropped,
	}, nil
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
