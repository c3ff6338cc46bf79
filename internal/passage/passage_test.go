package passage_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/internal/passage"
)

// TestPassage asks the kernel as the users in question. It needs root.
func TestPassage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it acts as other users")
	}
	top, err := os.MkdirTemp("", "felhom-passage-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(top); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(top, "dir")
	file := filepath.Join(dir, "file")
	for _, err := range []error{os.Chmod(top, 0o711), os.Mkdir(dir, 0o711), os.WriteFile(file, []byte("x"), 0o644), os.Chmod(file, 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	want := func(what string, uid, gid uint32, want bool) {
		t.Helper()
		cmd := exec.Command("cat", file)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
		if got := cmd.Run() == nil; got != want {
			t.Errorf("%s: user %d of group %d gets through is %v, want %v", what, uid, gid, got, want)
		}
		if uid != gid {
			return
		}
		if got, err := passage.Lets(dir, int(uid)); err != nil || got != want {
			t.Errorf("%s: Lets %d is %v, %v, want %v", what, uid, got, err, want)
		}
	}
	want("before", 65534, 65534, true)
	fd := int(f.Fd())
	if err := passage.Only(fd, 300000, passage.Walk); err != nil {
		t.Fatal(err)
	}
	want("only 300000", 300000, 300000, true)
	want("only 300000", 65534, 65534, false)
	want("only 300000", 100000, 100000, false)
	want("only 300000, its setgid program", 65534, 300000, false)
	for _, uid := range []int{100000, 200000, 100000} {
		if err := passage.Open(fd, uid); err != nil {
			t.Fatal(err)
		}
	}
	want("opened", 100000, 100000, true)
	want("opened", 200000, 200000, true)
	want("opened", 65534, 65534, false)
	want("a setgid program's group", 65534, 100000, false)
	if users, err := passage.Users(fd); err != nil || !slices.Equal(users, []int{100000, 200000, 300000}) {
		t.Errorf("Users gives %v, %v", users, err)
	}
	if err := passage.Only(fd, 400000, passage.Read); err != nil {
		t.Fatal(err)
	}
	want("only 400000", 400000, 400000, true)
	want("only 400000", 300000, 300000, false)
	if err := passage.Clear(fd, 0o700); err != nil {
		t.Fatal(err)
	}
	want("cleared", 400000, 400000, false)
	if users, err := passage.Users(fd); err != nil || len(users) > 0 {
		t.Errorf("Users gives %v, %v after Clear", users, err)
	}
}

// TestManyOpenOneDirectory has guests made side by side: none may lose the
// entry that another one makes. It needs root.
func TestManyOpenOneDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it gives rights to other users")
	}
	const rounds, users = 20, 60
	for range rounds {
		dir := t.TempDir()
		begin := make(chan struct{})
		var opening sync.WaitGroup
		for i := range users {
			opening.Go(func() {
				f, err := os.Open(dir)
				if err != nil {
					t.Error(err)
					return
				}
				<-begin
				if err := passage.Open(int(f.Fd()), 200000+i); err != nil {
					t.Error(err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		opening.Wait()
		for i := range users {
			if ok, err := passage.Lets(dir, 200000+i); err != nil || !ok {
				t.Fatalf("user %d gets through is %v, %v, want true", 200000+i, ok, err)
			}
		}
	}
}
