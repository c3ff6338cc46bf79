package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// trimAfter is how long the daemon serves before it releases what only its
// start needed.
const trimAfter = time.Second

// trimLater calls trim once the start is over, unless ctx is done before.
func (s *service) trimLater(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(trimAfter):
	}
	if err := trim(); err != nil {
		s.logger.WithError(err).Debug("memory of the start is kept")
	}
}

// trim releases the free part of the heap, and unmaps the program's own file:
// a start reads the configuration and fills all tables of the linked packages, which
// maps nearly all of the file, and serving needs the smaller part of it. The kernel
// maps a page again when it is used. It is safe to repeat.
func trim() error {
	debug.FreeOSMemory()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	pages, err := cleanPages(smaps, program)
	err = errors.Join(err, smaps.Close())
	for _, p := range pages {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, p.first, p.size, unix.MADV_DONTNEED); errno != 0 {
			err = errors.Join(err, fmt.Errorf("unmap %#x: %w", p.first, errno))
		}
	}
	return err
}

// span is a part of the process's memory.
type span struct{ first, size uintptr }

// cleanPages returns the mappings of the file that are as the file is: what was
// written to one of the others, such as addresses that a loader filled in, would be lost
// if it were unmapped. smaps has the form of /proc/self/smaps.
func cleanPages(smaps io.Reader, file string) (clean []span, err error) {
	var under span // the mapping whose lines are read, if it is of the file
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		line := lines.Text()
		var first, last uintptr
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %4s", &first, &last, &mode); n == 3 {
			under = span{}
			if last > first && strings.HasSuffix(line, " "+file) && strings.HasPrefix(mode, "r-") {
				under = span{first, last - first}
			}
			continue
		}
		var written int64
		if n, _ := fmt.Sscanf(line, "Anonymous: %d kB", &written); n == 1 && written == 0 && under.size > 0 {
			clean = append(clean, under)
		}
		// What was written may be on a swap device, and is then not counted above.
		if n, _ := fmt.Sscanf(line, "Swap: %d kB", &written); n == 1 && written != 0 && under.size > 0 {
			clean = slices.DeleteFunc(clean, func(s span) bool { return s == under })
		}
	}
	return clean, lines.Err()
}
