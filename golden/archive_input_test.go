package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// callTimed runs a command that must not wait; the test ends if it does.
func callTimed(ctx context.Context, t *testing.T, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, append([]string{program}, args...), stdin, &out, &talk) }()
	select {
	case code = <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%v waits", args)
	}
	return code, out.String(), talk.String()
}

// A path on the command line may mean what another user has made of it: a named
// pipe must not hold up any command.
func TestNamedPipesAreRefused(t *testing.T) {
	dir := t.TempDir()
	pipe, good := filepath.Join(dir, "pipe.tar"), filepath.Join(dir, "a.tar")
	writeArchive(t, good, "one\n")
	sidecar := filepath.Join(dir, "b.tar")
	writeArchive(t, sidecar, "one\n")
	for _, name := range []string{pipe, sidecar + ".sha256"} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	large := filepath.Join(dir, "c.tar")
	writeArchive(t, large, "one\n")
	if err := os.WriteFile(large+".sha256", bytes.Repeat([]byte(" "), maxSidecar+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"verify", []string{"verify", pipe}, 3, "not a regular file: it is a named pipe"},
		{"inspect", []string{"inspect", pipe}, 3, "not a regular file"},
		{"diff", []string{"diff", good, pipe}, 2, "not a regular file"},
		{"unpack", []string{"unpack", pipe, filepath.Join(dir, "root")}, 2, "not a regular file"},
		{"directory", []string{"inspect", dir}, 3, "it is a directory"},
		{"device", []string{"inspect", "/dev/zero"}, 3, "it is a device"},
		{"hash", []string{"verify", sidecar}, 3, "not a regular file"},
		{"large hash", []string{"verify", large}, 3, "exceeds the limit"},
		{"configuration", []string{"unpack", "--config", pipe, good, filepath.Join(dir, "root")}, 2, "not a regular file"},
		{"bootstrap", []string{"build", "--out", dir, "--bootstrap", pipe, "--recipe", pipe}, 3, "not a regular file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, talk := callTimed(t.Context(), t, nil, tt.args...)
			if code != tt.code || out != "" || !strings.Contains(talk, tt.want) || !strings.Contains(talk, "hint: ") {
				t.Errorf("code %d, stdout %q, stderr %q; want %d and %q", code, out, talk, tt.code, tt.want)
			}
			if _, err := os.Lstat(filepath.Join(dir, "root")); err == nil {
				t.Error("the directory is there after a refusal")
			}
		})
	}
}

// A pipe that the shell has opened is an archive like any other, "<(zstd -dc x)".
func TestPipeOfTheShellIsRead(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "a.tar")
	writeArchive(t, archive, "one\n")
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"/dev/fd/%d", "/proc/self/fd/%d", "-"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := w.Write(data)
			if err := errors.Join(err, w.Close()); err != nil {
				t.Error(err)
			}
		}()
		name := form
		if form != "-" {
			name = fmt.Sprintf(form, r.Fd())
		}
		code, out, talk := callTimed(t.Context(), t, r, "inspect", "--config", name)
		if code != 0 || out != "arch: amd64\n" {
			t.Errorf("%s: code %d, stdout %q, stderr %q", form, code, out, talk)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// No one writes and no one closes: the signal that ends a command must.
func TestSilentPipeEndsWithTheContext(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	for _, args := range [][]string{{"verify", "-"}, {"inspect", fmt.Sprintf("/dev/fd/%d", r.Fd())}, {"diff", "-", "x"}, {"unpack", "-", filepath.Join(t.TempDir(), "root")}} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if code, out, talk := callTimed(ctx, t, r, args...); code != 130 || out != "" {
			t.Errorf("%v: code %d, stdout %q, stderr %q; want 130", args, code, out, talk)
		}
		cancel()
	}
}

// The goroutine that decodes waits for more when the command refuses what it has:
// the command closes the pipe beside it, and it waits no longer.
func TestClosedPipeIsNotWaitedFor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	for _, name := range []string{"-", fmt.Sprintf("/dev/fd/%d", r.Fd())} {
		in, _, err := openArchive(t.Context(), r, name)
		if err != nil {
			t.Fatal(err)
		}
		started, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			close(started)
			_, err := in.Read(make([]byte, 1))
			ended <- err
		}()
		<-started
		if err := in.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s: error %v, want that it is closed", name, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: it still waits", name)
		}
	}
}
