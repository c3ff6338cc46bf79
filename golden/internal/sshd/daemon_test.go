package sshd_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/enter/entertest"
	"github.com/felhom/felhom-golden/golden/internal/sshd"
)

// The daemon ends with the process it watches, with what runs in its sessions;
// /tmp is shared by sessions and SFTP, and is not the root's.
func TestDaemonEndsWithWatched(t *testing.T) {
	root := entertest.Root(t, "sleep", "cat")
	watched := exec.Command("sleep", "600")
	if err := watched.Start(); err != nil {
		t.Fatal(err)
	}
	l, err := sshd.Listen(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := sshd.Start(sshd.Config{Root: root, Password: sha256.Sum256([]byte(password)), WatchPID: watched.Process.Pid}, l, nil)
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	if err := d.Staged(true); err != nil {
		t.Fatal(err)
	}
	c := client(t, l.Addr().String())
	up, err := sftpClient(t, c).Create("/tmp/uploaded")
	if err != nil {
		t.Fatal(err)
	}
	_, err = up.Write([]byte("hello"))
	if err := errors.Join(err, up.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := session(t, c).Output("cat /tmp/uploaded")
	if err != nil || string(out) != "hello" {
		t.Errorf("session sees %q, error %v", out, err)
	}
	if list, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(list) != 0 {
		t.Errorf("in the root's own /tmp: %v, error %v; want nothing", list, err)
	}
	hold := session(t, c)
	if err := hold.Start("sleep 600"); err != nil {
		t.Fatal(err)
	}
	if err := watched.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = watched.Wait()
	began := time.Now()
	if err := d.Wait(t.Context()); err != nil {
		t.Errorf("daemon: %v", err)
	}
	if took := time.Since(began); took > time.Minute { // the session would last for ten
		t.Errorf("daemon took %v to end", took)
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(info), root) {
		t.Errorf("still mounted, or error %v", err)
	}
}

// A starter that dies before staging is done has said no.
func TestDaemonNotStaged(t *testing.T) {
	l, err := sshd.Listen(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := sshd.Start(sshd.Config{Root: t.TempDir(), Password: sha256.Sum256([]byte(password)), WatchPID: os.Getpid()}, l, nil)
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	if err := d.Staged(false); err != nil {
		t.Fatal(err)
	}
	if out, err := session(t, client(t, l.Addr().String())).CombinedOutput("true"); err == nil || !strings.Contains(string(out), "staging failed") {
		t.Errorf("output %q, error %v; want the reason", out, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Wait(ctx); err == nil {
		t.Error("wait after cancel: no error")
	}
}
