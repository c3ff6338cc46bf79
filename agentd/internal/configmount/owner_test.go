package configmount_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/internal/driver"
)

// With OwnerGuest the file is the mapped root's alone; the directory stays the
// host's, so that the file can be written but not replaced by a link.
func TestPutForTheGuest(t *testing.T) {
	ids := driver.IDs{UID: 200000, GID: 300000}
	dir := configmount.New(t.TempDir(), configmount.OwnerGuest)
	for _, content := range []string{"one", "two"} {
		if err := dir.Put(8200, ids, configmount.BootstrapFile, []byte(content)); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]struct {
			mode     fs.FileMode
			uid, gid uint32
		}{
			dir.Path(8200): {fs.ModeDir | 0o750, 0, 300000},
			filepath.Join(dir.Path(8200), configmount.BootstrapFile): {0o600, 200000, 300000},
		} {
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			st := info.Sys().(*syscall.Stat_t)
			if info.Mode() != want.mode || st.Uid != want.uid || st.Gid != want.gid {
				t.Errorf("%s: %v %d:%d, want %v %d:%d", path, info.Mode(), st.Uid, st.Gid, want.mode, want.uid, want.gid)
			}
		}
	}
}

// A directory as the spike had it was the guest's: whatever it put there goes, and
// nothing that it points to.
func TestRemove(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "keep")
	dir := configmount.New(filepath.Join(t.TempDir(), "mounts"), configmount.OwnerHost)
	for name, make := range map[string]func(guest string) error{
		"nothing there":       func(string) error { return nil },
		"link to a directory": func(guest string) error { return os.Symlink(outside, filepath.Join(guest, "bootstrap.json")) },
		"chain of links": func(guest string) error {
			return firstOf(os.Symlink("b", filepath.Join(guest, "a")), os.Symlink("../../../../..", filepath.Join(guest, "b")))
		},
		"deep directories": func(guest string) error {
			deep := guest
			for range 200 {
				deep = filepath.Join(deep, "d")
			}
			return firstOf(os.MkdirAll(deep, 0o700), os.Symlink(outside, filepath.Join(deep, "out")))
		},
		"directory without rights": func(guest string) error {
			return firstOf(os.MkdirAll(filepath.Join(guest, "closed/inner"), 0o700), os.Chmod(filepath.Join(guest, "closed"), 0))
		},
		"special files": func(guest string) error {
			return firstOf(unix.Mkfifo(filepath.Join(guest, "fifo"), 0o600), unix.Mknod(filepath.Join(guest, "socket"), unix.S_IFSOCK|0o600, 0))
		},
		"odd names": func(guest string) error {
			return firstOf(os.WriteFile(filepath.Join(guest, "\n\x1b[2J"), nil, 0), os.WriteFile(filepath.Join(guest, "..."), nil, 0))
		},
		"link in place of the directory": func(guest string) error { return firstOf(os.Remove(guest), os.Symlink(outside, guest)) },
		"file in place of the directory": func(guest string) error { return firstOf(os.Remove(guest), os.WriteFile(guest, nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := firstOf(os.WriteFile(victim, []byte("host"), 0o600), os.MkdirAll(dir.Path(8200), 0o700), make(dir.Path(8200)), os.MkdirAll(dir.Path(8201), 0o700)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := dir.Remove(8200); err != nil {
					t.Fatal(err)
				}
				if dir.Exists(8200) {
					t.Error("the directory is still there")
				}
			}
			if data, err := os.ReadFile(victim); string(data) != "host" || !dir.Exists(8201) {
				t.Errorf("what is outside: %q, %v; the next guest's directory is there: %v", data, err, dir.Exists(8201))
			}
		})
	}
	if err := configmount.New(filepath.Join(outside, "none"), configmount.OwnerHost).Remove(8200); err != nil {
		t.Errorf("no mounts at all: %v", err)
	}
}

func firstOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}
