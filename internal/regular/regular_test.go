package regular_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/regular"
)

// within fails the test if do waits; a blocked open cannot be ended.
func within(t *testing.T, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the open waits")
		return nil
	}
}

// odd makes one of each kind that is not a regular file and returns their names.
func odd(t *testing.T, dir string) []string {
	t.Helper()
	pipe, socket := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Mkdir(filepath.Join(dir, "dir"), 0o700), os.Symlink("pipe", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return []string{"pipe", "socket", "dir", "link"}
}

func TestOddFilesAreRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	names := odd(t, dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	for _, name := range names {
		for what, do := range map[string]func() error{
			"open":    func() error { _, err := regular.Open(filepath.Join(dir, name)); return err },
			"read":    func() error { _, err := regular.Read(filepath.Join(dir, name), 10); return err },
			"read in": func() error { _, err := regular.ReadIn(root, name, 10); return err },
			"write":   func() error { _, err := regular.OpenIn(root, name, os.O_WRONLY, 0); return err },
			"create": func() error {
				_, err := regular.OpenIn(root, name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
				return err
			},
			"no follow": func() error { _, err := regular.OpenIn(root, name, os.O_RDONLY|syscall.O_NOFOLLOW, 0); return err },
		} {
			if err := within(t, do); !errors.Is(err, regular.ErrNotRegular) {
				t.Errorf("%s %s: %v, want ErrNotRegular", what, name, err)
			}
		}
	}
	if _, err := regular.Open("/dev/null"); !errors.Is(err, regular.ErrNotRegular) {
		t.Errorf("device: %v, want ErrNotRegular", err)
	}
}

func TestRegularFiles(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	f, err := regular.OpenIn(root, "new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("four")
	if err := errors.Join(err, f.Close(), os.Symlink("new", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new", "link"} {
		if data, err := regular.Read(filepath.Join(dir, name), 4); err != nil || string(data) != "four" {
			t.Errorf("read %s: %q, %v", name, data, err)
		}
	}
	if _, err := regular.ReadIn(root, "new", 3); !errors.Is(err, regular.ErrTooLarge) {
		t.Errorf("over the limit: %v, want ErrTooLarge", err)
	}
	if _, err := regular.Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v, want ErrNotExist", err)
	}
	if _, err := regular.ReadIn(root, "none", 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing in root: %v, want ErrNotExist", err)
	}
}
