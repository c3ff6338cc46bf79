package driver

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// UsageOf returns the figures of the file system that fd is in, as df(1) has
// them; seenAs is where the guest sees it. On storage that does not answer it
// does not return.
func UsageOf(fd int, seenAs string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return Usage{}, os.NewSyscallError("statfs", err)
	}
	unitSize := st.Frsize // the unit of the counters; Bsize is only the preferred size of a transfer
	if unitSize == 0 {
		unitSize = st.Bsize
	}
	return Usage{
		Path:      seenAs,
		Size:      bytesOf(st.Blocks, unitSize),
		Used:      bytesOf(st.Blocks-min(st.Bfree, st.Blocks), unitSize),
		Available: bytesOf(st.Bavail, unitSize),
	}, nil
}

// bytesOf returns at most the largest number: some file systems (of FUSE) claim
// more.
func bytesOf(blocks uint64, size int64) int64 {
	if size <= 0 || blocks > uint64(math.MaxInt64/size) {
		return math.MaxInt64
	}
	return int64(blocks) * size
}
