package powercut_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/powercut"
)

// The file system of these tests behaves as the table of pmxcfs says: else they
// would prove nothing.
func TestClusterFileSystem(t *testing.T) {
	c := powercut.New(t)
	one, two := c.Mount(t), c.Mount(t)
	dir := filepath.Join(one, "priv")
	name := filepath.Join(dir, "f")
	write := func() error { return os.WriteFile(name, make([]byte, 100), 0o600) }
	if err := write(); err != nil {
		t.Fatal(err)
	}
	big := func() error { return os.WriteFile(filepath.Join(dir, "big"), make([]byte, powercut.MaxFile+1), 0o600) }
	fails := map[string]struct {
		got, want error
	}{
		"chmod 0640":        {os.Chmod(name, 0o640), syscall.EPERM},
		"chmod 0600":        {os.Chmod(name, 0o600), nil},
		"chmod a directory": {os.Chmod(dir, 0o700), syscall.EPERM},
		"chown":             {os.Chown(name, 100000, 100000), syscall.EPERM},
		"chown www-data":    {os.Chown(name, 0, powercut.WWWData), nil},
		"hard link":         {os.Link(name, name+"2"), syscall.EPERM},
		"symbolic link":     {os.Symlink(name, name+"3"), syscall.ENOSYS},
		"pipe":              {syscall.Mkfifo(name+"4", 0o600), syscall.ENOSYS},
		"no name":           {noName(dir), syscall.EOPNOTSUPP},
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
	c.NoQuorum.Store(true)
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

// A file system that is unmounted under open files keeps none of its own open.
func TestUnmountClosesFiles(t *testing.T) {
	c := powercut.New(t)
	at := t.TempDir()
	unmount := c.MountAt(t, at)
	name := filepath.Join(at, "priv/f")
	if err := os.WriteFile(name, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{name, filepath.Dir(name)} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() }) // its file system is gone
	}
	if _, err := os.ReadFile(name); err != nil { // TestMain finds pipes that are left by it
		t.Fatal(err)
	}
	if n := opened(t, c.Dir); n < 2 { // those of ended calls are closed some time later
		t.Errorf("%d files and directories are open below %s, want 2 or more", n, c.Dir)
	}
	unmount()
	if n := opened(t, c.Dir); n != 0 {
		t.Errorf("%d files and directories are open after the file system was unmounted, want none", n)
	}
}

// opened returns how many descriptors of this process are at dir or below it.
func opened(t *testing.T, dir string) (n int) {
	t.Helper()
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		// The descriptor of the directory that is listed is gone.
		if target, err := os.Readlink(name); err == nil && strings.HasPrefix(target, dir+"/") {
			n++
		}
	}
	return n
}

func noName(dir string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
