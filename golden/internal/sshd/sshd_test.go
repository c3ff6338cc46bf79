package sshd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/golden/internal/enter/entertest"
	"github.com/felhom/felhom-golden/golden/internal/sshd"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

func TestMain(m *testing.M) {
	if code, isChild := enter.MaybeChild(); isChild {
		os.Exit(code)
	}
	if code, isDaemon := sshd.MaybeDaemon(os.Stderr); isDaemon {
		os.Exit(code)
	}
	os.Exit(leaktest.Run(m))
}

const password = "correct horse"

// serve starts a server in this process and returns its address.
func serve(t *testing.T, root string, staged func(context.Context) error) string {
	t.Helper()
	l, err := sshd.Listen(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := &sshd.Server{Root: root, Password: sha256.Sum256([]byte(password)), Staged: staged}
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

func dial(t *testing.T, addr, password string) (*ssh.Client, error) {
	t.Helper()
	return ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.Password(password)}, Timeout: 10 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // it is ephemeral by design
	})
}

func client(t *testing.T, addr string) *ssh.Client {
	t.Helper()
	c, err := dial(t, addr, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func session(t *testing.T, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWrongPassword(t *testing.T) {
	addr := serve(t, entertest.Root(t), nil)
	if _, err := dial(t, addr, "wrong"); err == nil {
		t.Error("a wrong password was taken")
	}
	if _, err := dial(t, addr, ""); err == nil {
		t.Error("an empty password was taken")
	}
}

func TestExec(t *testing.T) {
	c := client(t, serve(t, entertest.Root(t, "cat"), nil))
	s := session(t, c)
	if err := s.Setenv("SITE", `a "b" 'c' $D`); err != nil {
		t.Fatal(err)
	}
	s.Stdin = strings.NewReader("from stdin")
	var out, errOut bytes.Buffer
	s.Stdout, s.Stderr = &out, &errOut
	err := s.Run(`printf '%s|' "$SITE" "$PWD"; cat; echo talk >&2; exit 9`)
	var status *ssh.ExitError
	if !errors.As(err, &status) || status.ExitStatus() != 9 {
		t.Errorf("error %v, want status 9", err)
	}
	if diff := cmp.Diff(`a "b" 'c' $D|/root|from stdin`, out.String()); diff != "" {
		t.Errorf("stdout -want +got:\n%s", diff)
	}
	if errOut.String() != "talk\n" {
		t.Errorf("stderr %q", errOut.String())
	}
}

// A client that never closes its side must not hold the session.
func TestExecEndsWithOpenStdin(t *testing.T) {
	s := session(t, client(t, serve(t, entertest.Root(t), nil)))
	if _, err := s.StdinPipe(); err != nil { // never closed
		t.Fatal(err)
	}
	if err := s.Start("exit 9"); err != nil {
		t.Fatal(err)
	}
	var status *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &status) || status.ExitStatus() != 9 {
		t.Errorf("wait: %v, want status 9", err)
	}
}

func TestSessionsWaitForStaging(t *testing.T) {
	release := make(chan error, 1)
	addr := serve(t, entertest.Root(t), func(ctx context.Context) error {
		select {
		case err := <-release:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	s := session(t, client(t, addr))
	var out bytes.Buffer
	s.Stdout = &out
	if err := s.Start("echo in"); err != nil {
		t.Fatal(err)
	}
	release <- nil
	if err := s.Wait(); err != nil || out.String() != "in\n" {
		t.Errorf("error %v, output %q", err, out.String())
	}
}

func TestSessionsRefusedWhenStagingFailed(t *testing.T) {
	addr := serve(t, entertest.Root(t), func(context.Context) error { return sshd.ErrNotStaged })
	s := session(t, client(t, addr))
	var errOut bytes.Buffer
	s.Stderr = &errOut
	err := s.Run("echo in")
	var status *ssh.ExitError
	if !errors.As(err, &status) || status.ExitStatus() != 1 || !strings.Contains(errOut.String(), "staging failed") {
		t.Errorf("error %v, stderr %q; want status 1 and the reason", err, errOut.String())
	}
}

func TestForwardingRefused(t *testing.T) {
	c := client(t, serve(t, entertest.Root(t), nil))
	if _, err := c.Dial("tcp", "127.0.0.1:22"); err == nil {
		t.Error("direct-tcpip was opened")
	}
	if _, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("tcpip-forward was granted")
	}
	s := session(t, c)
	if err := s.RequestPty("xterm", 24, 80, nil); err == nil {
		t.Error("a terminal was granted")
	}
}

func sftpClient(t *testing.T, c *ssh.Client) *sftp.Client {
	t.Helper()
	f, err := sftp.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestSFTP(t *testing.T) {
	root := entertest.Root(t)
	f := sftpClient(t, client(t, serve(t, root, nil)))
	if err := f.MkdirAll("/etc/app"); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	up, err := f.Create("/etc/app/big")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.ReadFrom(bytes.NewReader(big)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(up.Close(), f.Chown("/etc/app/big", 7, 8), f.Chmod("/etc/app/big", 0o750|os.ModeSetuid), f.Symlink("/abs/anywhere", "/etc/app/link")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "etc/app/big"))
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("uploaded %d bytes, got %d, error %v", len(big), len(got), err)
	}
	info, err := f.Lstat("/etc/app/big")
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*sftp.FileStat)
	if st.UID != 7 || st.GID != 8 || st.Mode&0o7777 != 0o4750 {
		t.Errorf("owner %d:%d mode %o, want 7:8 4750", st.UID, st.GID, st.Mode&0o7777)
	}
	if target, err := f.ReadLink("/etc/app/link"); err != nil || target != "/abs/anywhere" {
		t.Errorf("link says %q, error %v; want it kept as data", target, err)
	}
	down, err := f.Open("/etc/app/big")
	if err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(down)
	if err != nil || !bytes.Equal(back, big) {
		t.Errorf("downloaded %d bytes, error %v", len(back), err)
	}
	if err := errors.Join(down.Close(), f.Rename("/etc/app/big", "/etc/app/b2"), f.Remove("/etc/app/b2"), f.Remove("/etc/app/link"), f.RemoveDirectory("/etc/app")); err != nil {
		t.Error(err)
	}
}

// No way that SFTP knows may reach a file outside of the root: neither to read
// it, nor to change it, nor to make one.
func TestSFTPCannotEscape(t *testing.T) {
	root := entertest.Root(t)
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Lstat(secret)
	if err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20) + strings.TrimPrefix(outside, "/")
	f := sftpClient(t, client(t, serve(t, root, nil)))
	for link, target := range map[string]string{"/abs": outside, "/rel": up, "/absf": secret, "/relf": up + "/secret", "/made": outside + "/made"} {
		if err := f.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	read := func(p string) error {
		h, err := f.Open(p)
		if err == nil {
			_, err = io.ReadAll(h)
			_ = h.Close()
		}
		return err
	}
	write := func(p string) error {
		h, err := f.OpenFile(p, os.O_WRONLY|os.O_CREATE)
		if err == nil {
			_, err = h.Write([]byte("x"))
			_ = h.Close()
		}
		return err
	}
	for name, try := range map[string]func() error{
		"read dots":            func() error { return read("/" + up + "/secret") },
		"read absolute link":   func() error { return read("/absf") },
		"read relative link":   func() error { return read("/relf") },
		"read below absolute":  func() error { return read("/abs/secret") },
		"read below relative":  func() error { return read("/rel/secret") },
		"write absolute link":  func() error { return write("/absf") },
		"write relative link":  func() error { return write("/relf") },
		"write below link":     func() error { return write("/abs/new") },
		"write dangling link":  func() error { return write("/made") },
		"list":                 func() error { _, err := f.ReadDir("/abs"); return err },
		"stat":                 func() error { _, err := f.Stat("/absf"); return err },
		"chmod link":           func() error { return f.Chmod("/absf", 0o777) },
		"chmod below":          func() error { return f.Chmod("/rel/secret", 0o777) },
		"chown below":          func() error { return f.Chown("/abs/secret", 1, 1) },
		"chtimes link":         func() error { return f.Chtimes("/absf", time.Unix(1, 0), time.Unix(1, 0)) },
		"truncate":             func() error { return f.Truncate("/relf", 0) },
		"remove below":         func() error { return f.Remove("/abs/secret") },
		"mkdir below":          func() error { return f.Mkdir("/abs/dir") },
		"rename out":           func() error { return f.Rename("/relf", "/abs/moved") },
		"rename in":            func() error { return f.Rename("/abs/secret", "/etc/stolen") },
		"hard link in":         func() error { return f.Link("/abs/secret", "/etc/stolen") },
		"symlink made outside": func() error { return f.Symlink("x", "/abs/link") },
	} {
		if err := try(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, error %v; want the secret alone", entries, err)
	}
	after, err := os.Lstat(secret)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(secret)
	if err != nil || string(content) != "outside" || after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("secret: %q, %v, %v; it was changed", content, after.Mode(), after.ModTime())
	}
}

// Ansible's proxy asks for OpenSSH's server by its path.
func TestSFTPServerByExec(t *testing.T) {
	s := session(t, client(t, serve(t, entertest.Root(t), nil)))
	w, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("/usr/lib/openssh/sftp-server -e"); err != nil {
		t.Fatal(err)
	}
	f, err := sftp.NewClientPipe(r, w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat("/etc"); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestPortTaken(t *testing.T) {
	l, err := sshd.Listen(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if !strings.HasPrefix(l.Addr().String(), "127.0.0.1:") {
		t.Errorf("listens on %s, want loopback", l.Addr())
	}
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	n := 0
	for _, c := range port {
		n = n*10 + int(c-'0')
	}
	if _, err := sshd.Listen(t.Context(), n); err == nil {
		t.Error("a taken port was given")
	}
}
