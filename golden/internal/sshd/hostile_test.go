package sshd_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/enter/entertest"
	"github.com/felhom/felhom-golden/golden/internal/sshd"
)

// What a session leaves in the root is opened by this process: no kind of file,
// and no operation, may make it wait, and its end must not wait either.
func TestSFTPOfOddFilesReturns(t *testing.T) {
	root := entertest.Root(t)
	for name, mode := range map[string]uint32{"pipe": unix.S_IFIFO, "socket": unix.S_IFSOCK, "null": unix.S_IFCHR} {
		if err := unix.Mknod(filepath.Join(root, name), mode|0o666, int(unix.Mkdev(1, 3))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(root, "dir"), 0o755), os.Symlink("pipe", filepath.Join(root, "link"))); err != nil {
		t.Fatal(err)
	}
	addr := serve(t, root, nil)
	for _, name := range []string{"pipe", "socket", "null", "link", "dir"} {
		for op, do := range map[string]func(*sftp.Client) error{
			"read":     func(f *sftp.Client) error { _, err := f.Open("/" + name); return err },
			"write":    func(f *sftp.Client) error { _, err := f.OpenFile("/"+name, os.O_WRONLY); return err },
			"create":   func(f *sftp.Client) error { _, err := f.Create("/" + name); return err },
			"truncate": func(f *sftp.Client) error { return f.Truncate("/"+name, 0) },
			"list": func(f *sftp.Client) error {
				if name == "dir" {
					return errors.New("it can be listed")
				}
				_, err := f.ReadDir("/" + name)
				return err
			},
		} {
			t.Run(name+" "+op, func(t *testing.T) {
				f := sftpClient(t, client(t, addr))
				done := make(chan error, 1)
				go func() { done <- do(f) }()
				select {
				case err := <-done:
					if err == nil {
						t.Error("no error")
					}
				case <-time.After(time.Minute):
					t.Fatal("no answer")
				}
			})
		}
	}
}

// Connections that never authenticate, however many, keep no client out.
func TestSilentConnectionsKeepNoClientOut(t *testing.T) {
	root := entertest.Root(t)
	l, err := sshd.Listen(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := &sshd.Server{Root: root, Password: sha256.Sum256([]byte(password))}
	go func() { done <- s.Serve(ctx, l) }()
	for i := range 300 { // more than wait at once
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if i%2 == 1 { // these speak, and then are silent
			_, _ = c.Write([]byte("SSH-2.0-x\r\n"))
		}
	}
	began := time.Now()
	out, err := session(t, client(t, l.Addr().String())).Output("echo in")
	if err != nil || string(out) != "in\n" {
		t.Errorf("output %q, error %v", out, err)
	}
	if took := time.Since(began); took > 20*time.Second { // less than a silent connection may last
		t.Errorf("the client waited %v", took)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("serve: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the server waits for silent connections")
	}
}
