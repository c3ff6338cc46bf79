//go:build integration

package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bakery is a recipe with a cache that has its base.
type bakery struct {
	golden, bootstrap, recipe, cache string
}

func (b bakery) build(out string, args ...string) *exec.Cmd {
	return exec.Command(b.golden, append([]string{"build", "--out", out, "--recipe", b.recipe, "--bootstrap", b.bootstrap, "--cache", b.cache}, args...)...)
}

// forgetFrames has the next build pack its base again.
func (b bakery) forgetFrames(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(b.cache, "frames")); err != nil {
		t.Fatal(err)
	}
}

// forgetVerified has the next build read all of its archive, so that it does not end
// before it is killed.
func (b bakery) forgetVerified(t *testing.T) {
	t.Helper()
	kept, err := filepath.Glob(filepath.Join(b.cache, "frames/*.verified"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kept {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// fails runs a build that must end with this status, and gives what it said.
func (b bakery) fails(t *testing.T, cmd *exec.Cmd, code int) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != code {
		t.Fatalf("want exit status %d, got %v\n%s", code, err, out)
	}
	checkNoMount(t, b.cache)
	return string(out)
}

// kill starts a build and ends it by SIGKILL once at says so; at gets each line
// of the build, and "" now and then.
func (b bakery) kill(t *testing.T, out string, at func(line string) bool, args ...string) {
	t.Helper()
	cmd := b.build(out, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			lines <- in.Text()
		}
	}()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	said, reached, open := "", false, true
	for open && !reached {
		var line string
		select {
		case line, open = <-lines:
			said += line + "\n"
		case <-look.C:
		}
		reached = at(line)
	}
	if err := cmd.Process.Kill(); err != nil && reached {
		t.Error(err)
	}
	for range lines { // until its end: no one else holds the pipe then
	}
	err = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the build ended before it was killed: %v\n%s", err, said)
	}
	checkNoMount(t, b.cache)
	if left, err := filepath.Glob(filepath.Join(out, "[^.]*")); err != nil || len(left) > 0 { // what is hidden goes with the next build
		t.Errorf("a killed build left %v %v", left, err)
	}
}

// recovers builds again, wants the bytes of archive, and nothing left of the
// killed build.
func (b bakery) recovers(t *testing.T, out, archive string) {
	t.Helper()
	again, _ := bake(t, b.build(out))
	same(t, b.golden, archive, again)
	for _, pattern := range []string{filepath.Join(out, ".*"), filepath.Join(b.cache, "*/.*")} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("want nothing left of the killed build, got %v %v", left, err)
		}
	}
}

func exists(pattern string) bool {
	found, err := filepath.Glob(pattern)
	return err == nil && len(found) > 0
}

func testKilled(t *testing.T, b bakery, archive string) {
	for _, tt := range []struct {
		name   string
		frames bool // the base's frame is in the cache
		at     func(out string) func(line string) bool
	}{
		{"while the plan is made", true, func(string) func(string) bool { return func(string) bool { return true } }},
		{"while the base is packed", false, func(out string) func(string) bool {
			// The overlay, which comes first, packs to less.
			return func(string) bool { return larger(filepath.Join(out, ".*/.vzdump-*"), 16<<20) }
		}},
		{"while the base is spliced in", true, func(out string) func(string) bool {
			return func(string) bool { return larger(filepath.Join(out, ".*/.vzdump-*"), 1) }
		}},
		{"while the archive is verified", true, func(string) func(string) bool {
			return func(line string) bool { return strings.Contains(line, "pack ") }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.frames {
				b.forgetFrames(t)
			}
			b.forgetVerified(t)
			out := t.TempDir()
			b.kill(t, out, tt.at(out))
			b.recovers(t, out, archive)
		})
	}
}

// larger reports whether a file of this name has that many bytes.
func larger(pattern string, size int64) bool {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		return false
	}
	info, err := os.Stat(found[0])
	return err == nil && info.Size() >= size
}

func testDiskFull(t *testing.T, b bakery, archive string) {
	for _, tt := range []struct {
		name   string
		frames bool
	}{{"packing", false}, {"splicing", true}} {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.frames {
				b.forgetFrames(t)
			}
			out := t.TempDir()
			if err := unix.Mount("tmpfs", out, "tmpfs", 0, "size=20m"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(out, 0); err != nil {
					t.Error(err)
				}
			})
			said := b.fails(t, b.build(out), 1)
			if !strings.Contains(said, "no space left on device") || !strings.Contains(said, "hint: free space in ") {
				t.Errorf("want the full disk and a hint, got\n%s", said)
			}
			if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
				t.Errorf("want nothing left, got %v %v", left, err)
			}
			b.recovers(t, t.TempDir(), archive)
		})
	}
}

func testScriptFails(t *testing.T, b bakery) {
	b.recipe = writeTwice(t, 0o644)
	if err := os.WriteFile(filepath.Join(filepath.Dir(b.recipe), "s.sh"), []byte("#!/bin/sh\necho last words\nexit 7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	said := b.fails(t, b.build(out), 1)
	if !strings.Contains(said, "want exit status 0, got 7; it wrote last:\nfelhom-golden: last words") {
		t.Errorf("want the status and the last words, got\n%s", said)
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 || exists(filepath.Join(b.cache, "layers/.*")) {
		t.Errorf("want nothing left, got %v %v", left, err)
	}
}
