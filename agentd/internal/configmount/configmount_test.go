package configmount_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/internal/driver"
)

const mappedRoot = 100000

var root = driver.IDs{UID: mappedRoot, GID: mappedRoot}

func assertFile(t *testing.T, path, want string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if info.Mode() != mode || st.Uid != 0 || st.Gid != mappedRoot {
		t.Errorf("%s: %v %d:%d, want %v 0:%d", filepath.Base(path), info.Mode(), st.Uid, st.Gid, mode, mappedRoot)
	}
	if info.IsDir() {
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", filepath.Base(path), got, err, want)
	}
}

func TestPut(t *testing.T) {
	cases := []struct {
		name   string
		before func(guest string) error
	}{
		{name: "nothing there", before: func(string) error { return nil }},
		{name: "directory and file of the guest's root, as in the spike", before: func(guest string) error {
			if err := os.WriteFile(filepath.Join(guest, "bootstrap.json"), []byte("old"), 0o600); err != nil {
				return err
			}
			if err := os.Chown(filepath.Join(guest, "bootstrap.json"), mappedRoot, mappedRoot); err != nil {
				return err
			}
			return os.Chown(guest, mappedRoot, mappedRoot)
		}},
		{name: "world-readable directory", before: func(guest string) error { return os.Chmod(guest, 0o755) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			top := filepath.Join(t.TempDir(), "felhom/mounts")
			dir := configmount.New(top, configmount.OwnerHost)
			guest := dir.Path(8200)
			if c.name != "nothing there" {
				if err := os.MkdirAll(guest, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.before(guest); err != nil {
				t.Fatal(err)
			}
			for _, content := range []string{"one", "two"} {
				if err := dir.Put(8200, root, configmount.BootstrapFile, []byte(content)); err != nil {
					t.Fatal(err)
				}
				assertFile(t, guest, "", fs.ModeDir|0o750)
				assertFile(t, filepath.Join(guest, "bootstrap.json"), content, 0o640)
			}
		})
	}
}

func TestPutUnderAClosedUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top := filepath.Join(t.TempDir(), "felhom/mounts")
	dir := configmount.New(top, configmount.OwnerHost)
	if err := dir.Put(8200, root, configmount.BootstrapFile, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{filepath.Dir(top): 0o711, top: 0o711, dir.Path(8200): 0o750} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

// The escalation of the spike: the guest's root replaces the file by a link to
// a host file, and the host's next write lands there (facts: mount security).
func TestPutFollowsNoLinkOfTheGuest(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(victim, []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := configmount.New(t.TempDir(), configmount.OwnerHost)
	guest := dir.Path(8200)
	if err := os.Mkdir(guest, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"bootstrap.json", ".bootstrap.json.tmp"} {
		if err := os.Symlink(victim, filepath.Join(guest, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Put(8200, root, configmount.BootstrapFile, []byte("guest")); err != nil {
		t.Fatal(err)
	}
	assertFile(t, filepath.Join(guest, "bootstrap.json"), "guest", 0o640)
	info, err := os.Stat(victim)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(victim); string(got) != "host" || info.Mode() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the host's file became %q %v", got, info.Mode())
	}
}

func TestPutRefusesADirectoryThatIsALink(t *testing.T) {
	top, victim := t.TempDir(), t.TempDir()
	if err := os.Symlink(victim, filepath.Join(top, "8200")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(top, "8201"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("8201", filepath.Join(top, "8202")); err != nil {
		t.Fatal(err)
	}
	for _, vmid := range []int{8200, 8202} {
		err := configmount.New(top, configmount.OwnerHost).Put(vmid, root, configmount.BootstrapFile, nil)
		if err == nil || !strings.Contains(err.Error(), "want a directory") {
			t.Errorf("guest %d: error %v, want a refusal", vmid, err)
		}
	}
	for _, place := range []string{victim, filepath.Join(top, "8201")} {
		if entries, err := os.ReadDir(place); err != nil || len(entries) > 0 {
			t.Errorf("%s was written to: %v, %v", place, entries, err)
		}
	}
}

func TestPutLeavesOtherFilesAlone(t *testing.T) {
	dir := configmount.New(t.TempDir(), configmount.OwnerHost)
	for _, name := range []string{"controller.yaml.tmpl", "bootstrap.json", "bootstrap.json"} {
		if err := dir.Put(8200, root, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir.Path(8200))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"bootstrap.json", "controller.yaml.tmpl"}; !slices.Equal(names, want) {
		t.Errorf("directory holds %v, want %v", names, want)
	}
}

func TestPutRefusesPaths(t *testing.T) {
	dir := configmount.New(t.TempDir(), configmount.OwnerHost)
	for _, name := range []string{"", ".", "..", "../8201/bootstrap.json", "a/b", "/etc/passwd"} {
		if err := dir.Put(8200, root, name, nil); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
}
