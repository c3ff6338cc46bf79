package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// need is the space that members take of a file system by their own figures.
type need struct{ bytes, inodes int64 }

// free is what a file system has left, and its unit of space.
type free struct {
	need
	block int64
}

// inlineLink is the longest text of a symbolic link that file systems keep in
// the inode (ext4's 60 bytes less a NUL).
const inlineLink = 59

// freeAt returns the free space at the open directory d. A file system without
// a fixed number of inodes, or without a size, has no limit.
func freeAt(d int) (free, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d, &st); err != nil {
		return free{}, fmt.Errorf("statfs: %w", err)
	}
	f := free{need{math.MaxInt64, math.MaxInt64}, max(st.Frsize, 512)}
	if st.Blocks > 0 {
		f.bytes = int64(min(st.Bavail, math.MaxInt64/uint64(f.block))) * f.block
	}
	if st.Files > 0 {
		f.inodes = int64(min(st.Ffree, math.MaxInt64))
	}
	return f, nil
}

// of returns the space that e takes if it is written. A directory's block is
// left out, because not every file system needs one.
func (f free) of(e *vzdump.Entry) need {
	blocks := func(n int64) int64 { return (n + f.block - 1) / f.block * f.block }
	switch e.Type {
	case vzdump.File:
		return need{blocks(e.Stored), 1}
	case vzdump.Symlink:
		if len(e.Link) > inlineLink {
			return need{blocks(int64(len(e.Link))), 1}
		}
	case vzdump.Link:
		return need{}
	}
	return need{0, 1}
}

// check returns an error if n is more than what is free, else nil. who is the
// subject of its text.
func (f free) check(n need, who, dir string) error {
	switch {
	case n.bytes > f.bytes:
		return fault.WrapHint(fault.Failed, fmt.Errorf("%s needs %s, and %s are free: %w", who, progress.Bytes(n.bytes), progress.Bytes(f.bytes), syscall.ENOSPC),
			"free space below "+dir)
	case n.inodes > f.inodes:
		return fault.WrapHint(fault.Failed, fmt.Errorf("%s needs %d inodes, and %d are free: %w", who, n.inodes, f.inodes, syscall.ENOSPC),
			"remove files below "+dir+", or use a file system with more inodes; df -i shows them")
	}
	return nil
}

// CheckSpace reads the archive once, writes nothing, and compares the space
// that all of its members need with the free space at the directory dir.
// Afterwards the archive is at its start again. It refuses an archive whose
// form [Unpack] refuses. It does not read the members if more space is free than
// this archive can take by its size or, if it is an [io.ReaderAt], by the headers
// of its frames.
func CheckSpace(ctx context.Context, archive io.ReadSeeker, dir string, opts Options) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	have, err := freeAt(int(d.Fd()))
	if err != nil {
		return fmt.Errorf("unpack: %s: %w", dir, err)
	}
	packed, err := archive.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	most := opts.Limits.Most(packed)
	if at, ok := archive.(io.ReaderAt); ok {
		if n, ok := vzdump.MostUnpacked(at, packed); ok && n < most.Unpacked {
			most.Unpacked, most.Entries = n, min(most.Entries, int(n/512)+1+most.Implied)
		}
	}
	if entries := int64(most.Entries); have.inodes >= entries && have.bytes-entries*have.block >= most.Unpacked {
		return nil
	}
	sum, err := claimed(ctx, archive, have, opts.Limits)
	if err == nil {
		err = have.check(sum, "the archive", dir)
	}
	if err == nil {
		_, err = archive.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}

// claimed returns the space of all members that [Unpack] writes.
func claimed(ctx context.Context, archive io.Reader, have free, limits vzdump.Limits) (need, error) {
	ar, err := vzdump.NewAheadReader(vzdump.WithContext(ctx, archive), limits)
	if err != nil {
		return need{}, err
	}
	defer ar.Close()
	var sum need
	for {
		e, err := ar.Next()
		switch {
		case errors.Is(err, io.EOF):
			sum.inodes += int64(ar.Facts().Implied)
			return sum, nil
		case err != nil:
			return need{}, err
		case e.Odd.Has(vzdump.UnderDev), e.Odd.Has(vzdump.Duplicate), e.Odd.Has(vzdump.LateDir), e.Path == ".":
			continue
		}
		n := have.of(e)
		sum.bytes, sum.inodes = sum.bytes+n.bytes, sum.inodes+n.inodes
	}
}

// room returns an error if the free space does not suffice for e, or for a
// directory if e is nil.
func (u *unpacker) room(e *vzdump.Entry) error {
	have, err := freeAt(u.dirFD)
	if err != nil {
		return err
	}
	n := need{0, 1}
	if e != nil {
		n = have.of(e)
	}
	return have.check(n, "it", u.parent)
}
