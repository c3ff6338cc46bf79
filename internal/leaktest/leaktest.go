// Package leaktest fails the tests of a package that leave goroutines or open files
// behind: call [Run] in TestMain in place of m.Run. It is for tests only.
package leaktest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long what the tests have ended may take to end, on a machine that
// does much beside.
const patience = time.Minute

// Run runs the tests and returns their exit status, or 1 if they pass and a goroutine
// or a descriptor is left that was not there before. What a library keeps for the
// whole process is named in options, each with its reason beside it.
func Run(m interface{ Run() int }, options ...goleak.Option) int {
	before, err := descriptors()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "leaktest:", err)
		return 1
	}
	code := m.Run()
	if code != 0 || isFuzzing() {
		return code // a failed test may leave anything; go test's own workers are still at work
	}
	if err := check(before, patience, options...); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "the tests pass, but something is left:\n"+err.Error())
		return 1
	}
	return 0
}

// Checked is M for a library that runs the tests itself, such as testscript.Main.
type Checked struct{ M *testing.M }

// Run calls the function [Run] with M.
func (c Checked) Run() int { return Run(c.M) }

// isFuzzing reports whether this process is one of go test -fuzz.
func isFuzzing() bool {
	f := flag.Lookup("test.fuzz")
	return f != nil && f.Value.String() != ""
}

// check waits until nothing is left, or returns what is.
func check(before map[string]string, limit time.Duration, options ...goleak.Option) error {
	// These connections are kept for the next request of the process.
	http.DefaultClient.CloseIdleConnections()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := errors.Join(goleak.Find(options...), newDescriptors(before))
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return err
		case <-again.C:
			// The pipes of copies between sockets are kept in a pool, which two collections empty.
			runtime.GC()
		}
	}
}

func newDescriptors(before map[string]string) error {
	now, err := descriptors()
	if err != nil {
		return err
	}
	var left []string
	for _, fd := range slices.Sorted(maps.Keys(now)) {
		// The runtime makes one epoll instance and one event descriptor when they are first needed, and keeps them.
		if before[fd] != now[fd] && !strings.HasPrefix(now[fd], "anon_inode:[eventpoll]") && !strings.HasPrefix(now[fd], "anon_inode:[eventfd]") {
			left = append(left, "descriptor "+fd+": "+now[fd])
		}
	}
	if len(left) == 0 {
		return nil
	}
	return errors.New(strings.Join(left, "\n"))
}

// descriptors returns what the open files of this process are, by their number.
func descriptors() (map[string]string, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	open := map[string]string{}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist): // that of the directory itself
		case err != nil:
			return nil, err
		default:
			open[e.Name()] = target
		}
	}
	return open, nil
}
