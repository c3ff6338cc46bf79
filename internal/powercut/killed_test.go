package powercut_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/powercut"
)

const mountingChild = "POWERCUT_MOUNTING_CHILD"

// A process that serves a file system ends when it is killed, even though it has a file in there open.
func TestAKilledServerEnds(t *testing.T) {
	if os.Getenv(mountingChild) != "" {
		openAndWait(t)
	}
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), mountingChild+"=1", "TMPDIR="+t.TempDir())
	// With this flag, the child makes its mounts private.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "open\n" {
		t.Errorf("want that the child has a file open, got %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the child was not killed")
		}
	case <-ctx.Done():
		t.Errorf("process %d has not ended: it waits for an answer of its own", cmd.Process.Pid)
	}
}

// openAndWait opens a file of a mounted file system with a lower descriptor than the server's
// own, which the kernel therefore closes first.
func openAndWait(t *testing.T) {
	low, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	c := powercut.New(t)
	at := t.TempDir()
	c.MountAt(t, at)
	name := filepath.Join(at, "priv/f")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(f.Fd()), int(low.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(os.Stdout, "open"); err != nil {
		t.Fatal(err)
	}
	select {}
}
