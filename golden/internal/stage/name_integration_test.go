//go:build integration

package stage

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Packages are configured under a neutral name: openssh-server writes the name of
// its machine into its keys, mmdebstrap copies /etc/hostname and the resolver.
func TestBaseDoesNotKnowTheBuildMachine(t *testing.T) {
	const builder = "builder-7f3a91"
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and its name with it
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sethostname([]byte(builder)); err != nil {
		t.Fatal(err)
	}
	p, err := Resolve(t.Context(), parse(t, small+"  include: [openssh-server]\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l, err := p.Base(t.Context(), Cache{Dir: t.TempDir()}, Hooks{Log: &log})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	t.Cleanup(func() { closeNow(t, l) })
	key, err := os.ReadFile(filepath.Join(l.Root, "etc/ssh/ssh_host_ed25519_key.pub"))
	if err != nil || !bytes.Contains(key, []byte("@localhost")) {
		t.Errorf("host key %q, error %v; want localhost in it", key, err)
	}
	if data, err := os.ReadFile(filepath.Join(l.Root, "etc/resolv.conf")); err != nil || len(data) > 0 {
		t.Errorf("resolver %q, error %v; want none", data, err)
	}
	err = fs.WalkDir(os.DirFS(l.Root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() > 4<<20 {
			return err
		}
		data, err := os.ReadFile(filepath.Join(l.Root, path))
		if bytes.Contains(data, []byte(builder)) {
			t.Errorf("%s has the name of the build machine", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
