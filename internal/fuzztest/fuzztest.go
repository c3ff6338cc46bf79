// Package fuzztest has what tests of parsers share: [Long] feeds a parser long
// texts, which shows time that grows faster than the text. It is for tests only.
// It is a package, though short, because parsers are in many packages.
package fuzztest

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shared are what texts that take long are made of: separators, comments, quotes,
// brackets and continued lines of the formats that are read here.
var shared = []string{
	"\n", " \n", " x\n", "\t", "a\n", "a: b\n", "a: b\n\n", "a=b\n", "[a]\n", "\\\n", "a=b\\\n", "#\n", "# a\n", "a ", "a,", "a;", "a/", ",", "=", ":", "\"", "\"\"", "'",
	"[", "[]", "(", "{", "{\"a\":", "- ", "&a [*a]\n", "%00", "\\040", "\x00", "\xff", "\u202e",
}

// What takes more than a moment must not take much more than four times as long for
// four times the text. The factor of a parser whose time grows with the square is 16.
const (
	size     = 128 << 10
	moment   = 60 * time.Millisecond
	maxTimes = 9
)

// Long calls parse with long texts: each is head, then one unit over and over. Without
// units, they are those that many formats share. It fails if the time that a text
// takes of the processor grows faster than the text. parse must do its work in the
// goroutine that calls it.
func Long(t *testing.T, head string, parse func(text string), units ...string) {
	t.Helper()
	if len(units) == 0 {
		units = shared
	}
	runtime.LockOSThread() // its time is measured
	defer runtime.UnlockOSThread()
	for _, unit := range units {
		long := func(size int) string { return head + strings.Repeat(unit, size/len(unit)) }
		whole := timeOf(t, parse, long(size))
		for tries := 0; whole > moment; tries++ {
			quarter := timeOf(t, parse, long(size/4))
			if whole <= maxTimes*quarter {
				break
			}
			if tries == 2 {
				t.Fatalf("%.100q, then %q up to %d bytes: takes %v, and %v for a quarter of that", head, unit, size, whole, quarter)
			}
			whole = min(whole, timeOf(t, parse, long(size)))
		}
	}
}

// timeOf returns how much time of the processor this thread takes for parse.
func timeOf(t *testing.T, parse func(string), text string) time.Duration {
	t.Helper()
	now := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	start := now()
	parse(text)
	return now() - start
}
