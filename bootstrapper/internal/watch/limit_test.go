package watch

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutInotify: the guests of a host share one small limit, and a guest must
// come up all the same.
func TestWithoutInotify(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || limit > 1<<16 {
		t.Fatalf("limit %q: too many to use up", text)
	}
	var used []int
	defer func() {
		for _, fd := range used {
			_ = unix.Close(fd)
		}
	}()
	for range limit + 1 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			break
		}
		used = append(used, fd)
	}
	dir := t.TempDir()
	w := start(t, dir)
	for _, fd := range used {
		_ = unix.Close(fd)
	}
	used = nil
	if w.every != lookEvery {
		t.Fatal("there was an inotify instance left")
	}
	write(t, filepath.Join(dir, "a.json"), "1")
	until(t, w, State.Present)
}
