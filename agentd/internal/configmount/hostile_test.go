package configmount_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

// TestMain is also the guest's root: the test starts itself again in a user
// namespace whose root is 100000 here.
func TestMain(m *testing.M) {
	if place := os.Getenv("FELHOM_HOSTILE_DIR"); place != "" {
		attack(os.Stdout, place, os.Getenv("FELHOM_HOSTILE_VICTIM"))
		os.Exit(0)
	}
	os.Exit(leaktest.Run(m))
}

// attack is what a guest's root does to its mount. It writes a line for each
// try, "what: ok" or what it met.
func attack(w io.Writer, place, victim string) {
	try := func(what string, err error) {
		text := "ok"
		errno, isErrno := errors.AsType[syscall.Errno](err)
		switch {
		case errors.Is(err, fs.ErrPermission): // EACCES or EPERM, as the kernel is set up
			text = "refused"
		case isErrno:
			text = unix.ErrnoName(errno)
		case err != nil:
			text = err.Error()
		}
		_, _ = fmt.Fprintf(w, "%s: %s\n", what, text) // a lost line is missed by the test
	}
	if err := unix.MoveMount(3, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		_, _ = fmt.Fprintln(w, "no mount:", err) // likewise
		return
	}
	file := filepath.Join(place, configmount.BootstrapFile)
	_, err := os.ReadFile(file)
	try("read", err)
	_, err = os.Create(filepath.Join(place, "early"))
	try("write while read-only", err)
	// The flag of the bind mount does not bind a guest's root.
	try("remount read-write", unix.Mount("", place, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV, ""))

	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	try("open for writing", err)
	if err == nil {
		_ = f.Close()
	}
	try("truncate", os.Truncate(file, 0))
	try("chmod file", os.Chmod(file, 0o666))
	try("chown file", os.Chown(file, 0, 0))
	try("chmod directory", os.Chmod(place, 0o777))
	try("chown directory", os.Chown(place, 0, 0))
	try("extended attribute", unix.Setxattr(file, "user.x", []byte("x"), 0))
	try("fill", os.WriteFile(filepath.Join(place, "fill"), make([]byte, 1<<16), 0o600))
	try("create directory", os.Mkdir(filepath.Join(place, "d"), 0o700))
	try("create fifo", unix.Mkfifo(filepath.Join(place, "fifo"), 0o600))
	try("hard link", os.Link(file, filepath.Join(place, "hard")))
	try("rename", firstOf(os.Rename(file, filepath.Join(place, "moved")), os.Rename(filepath.Join(place, "moved"), file)))
	try("link for the next write", os.Symlink(victim, filepath.Join(place, ".bootstrap.json.tmp")))
	try("unlink", os.Remove(file))
	try("link in its place", os.Symlink(victim, file))
}

// asGuestRoot runs attack as root of a user namespace that has directory mounted
// read-only, in the way in which a hypervisor plugs it in: the host clones the
// tree, sets it read-only, and moves it into the guest's mount namespace.
func asGuestRoot(t *testing.T, place, victim string) map[string]string {
	t.Helper()
	target, err := os.MkdirTemp("", "felhom-hostile-") // not t.TempDir: the guest's root has to get there
	no(t, err)
	t.Cleanup(func() { no(t, os.RemoveAll(target)) })
	no(t, os.Chmod(target, 0o755))
	tree, err := unix.OpenTree(unix.AT_FDCWD, place, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	no(t, err)
	mount := os.NewFile(uintptr(tree), place)
	defer func() { no(t, mount.Close()) }()
	no(t, unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}))

	cmd := exec.Command("/proc/self/exe") // by its path the guest's root can not get there
	cmd.Env = []string{"FELHOM_HOSTILE_DIR=" + target, "FELHOM_HOSTILE_VICTIM=" + victim}
	cmd.ExtraFiles = []*os.File{mount}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: mappedRoot, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said := map[string]string{}
	for line := range strings.Lines(string(out)) {
		what, how, _ := strings.Cut(strings.TrimSpace(line), ": ")
		said[what] = how
	}
	return said
}

// tree is all of a directory that a guest could have changed.
func tree(t *testing.T, place string) (list []string) {
	t.Helper()
	no(t, filepath.WalkDir(place, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, content := info.Sys().(*syscall.Stat_t), ""
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(data)
		case info.Mode().Type() == os.ModeSymlink:
			content, err = os.Readlink(path)
		}
		list = append(list, fmt.Sprintf("%s %v %d:%d %q", strings.TrimPrefix(path, place), info.Mode(), st.Uid, st.Gid, content))
		return err
	}))
	return list
}

// writeNaively is how a plain program fills the mount, and how the spike did:
// by path, and then the owner that the guest needs.
func writeNaively(place, content string) error {
	file := filepath.Join(place, configmount.BootstrapFile)
	return firstOf(os.WriteFile(file, []byte(content), 0o600), os.Chown(file, mappedRoot, mappedRoot), os.Chmod(file, 0o600))
}

// newVictim makes a host file that root alone may read, in a directory that root
// alone may enter.
func newVictim(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root-only")
	no(t, os.Mkdir(dir, 0o700))
	file := filepath.Join(dir, "shadow")
	no(t, os.WriteFile(file, []byte("host"), 0o600))
	return file
}

var allRefused = map[string]string{
	"read": "ok", "write while read-only": "EROFS", "remount read-write": "ok",
	"open for writing": "refused", "truncate": "refused", "chmod file": "refused", "chown file": "refused", "chmod directory": "refused", "chown directory": "refused",
	"extended attribute": "refused", "fill": "refused", "create directory": "refused", "create fifo": "refused", "hard link": "refused", "rename": "refused",
	"link for the next write": "refused", "unlink": "refused", "link in its place": "EEXIST",
}

// The attack of a guest's root on its mount changes no file of the host and reaches
// nothing of the host.
func TestHostileGuest(t *testing.T) {
	for name, c := range map[string]struct {
		owner configmount.Owner
		also  []string // what the guest's root can do to a file of its own
	}{
		"host's file":  {owner: configmount.OwnerHost},
		"guest's file": {owner: configmount.OwnerGuest, also: []string{"open for writing", "truncate", "chmod file", "chown file", "extended attribute"}},
	} {
		t.Run(name, func(t *testing.T) {
			victim := newVictim(t)
			mounts := configmount.New(t.TempDir(), c.owner)
			no(t, mounts.Put(8200, root, configmount.BootstrapFile, []byte("contract")))
			before := tree(t, mounts.Path(8200))
			want := maps.Clone(allRefused)
			for _, what := range c.also {
				want[what] = "ok"
			}
			if d := cmp.Diff(want, asGuestRoot(t, mounts.Path(8200), victim)); d != "" {
				t.Errorf("what the guest's root met (-want +got):\n%s", d)
			}
			if d := cmp.Diff(before, tree(t, mounts.Path(8200))); len(c.also) == 0 && d != "" {
				t.Errorf("the mount (-before +after):\n%s", d)
			}
			no(t, mounts.Put(8200, root, configmount.BootstrapFile, []byte("contract")))
			if d := cmp.Diff(before, tree(t, mounts.Path(8200))); d != "" {
				t.Errorf("the mount after the next write (-before +after):\n%s", d)
			}
			isIntact(t, victim)
		})
	}
}

func isIntact(t *testing.T, victim string) {
	t.Helper()
	if got := tree(t, filepath.Dir(victim)); got[1] != `/shadow -rw------- 0:0 "host"` {
		t.Errorf("the host's file is now %s", got[1])
	}
}

// The same attack succeeds against a naive writer, or the test above would show
// nothing. Our Put takes the very directory back, and its link goes.
func TestHostileGuestOfANaiveWriter(t *testing.T) {
	attacked := func(t *testing.T) (mounts configmount.Dir, victim string) {
		t.Helper()
		victim, mounts = newVictim(t), configmount.New(t.TempDir(), configmount.OwnerHost)
		no(t, os.Mkdir(mounts.Path(8200), 0o700))
		no(t, os.Chown(mounts.Path(8200), mappedRoot, mappedRoot))
		no(t, writeNaively(mounts.Path(8200), "contract"))
		said := asGuestRoot(t, mounts.Path(8200), victim)
		for what, how := range said {
			if (how == "ok") != (what != "write while read-only") {
				t.Errorf("%s: %s", what, how)
			}
		}
		isIntact(t, victim) // so far
		return mounts, victim
	}
	t.Run("written naively again", func(t *testing.T) {
		mounts, victim := attacked(t)
		no(t, writeNaively(mounts.Path(8200), "the guest's words"))
		if got, want := tree(t, filepath.Dir(victim))[1], `/shadow -rw------- 100000:100000 "the guest's words"`; got != want {
			t.Errorf("the attack did not reach the host's file: %s, want %s", got, want)
		}
	})
	t.Run("written by us", func(t *testing.T) {
		mounts, victim := attacked(t)
		no(t, mounts.Put(8200, root, configmount.BootstrapFile, []byte("contract")))
		isIntact(t, victim)
		assertFile(t, filepath.Join(mounts.Path(8200), configmount.BootstrapFile), "contract", 0o640)
		assertFile(t, mounts.Path(8200), "", fs.ModeDir|0o750)
	})
	t.Run("removed by us", func(t *testing.T) {
		mounts, victim := attacked(t)
		no(t, mounts.Remove(8200))
		isIntact(t, victim)
	})
}

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
