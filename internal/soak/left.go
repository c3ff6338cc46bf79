package soak

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/mountinfo"
)

// Left lists what killed commands left of their work at dir and below it: files and
// directories with temporary names, lock files, mounts in any process's namespace, loop devices,
// and processes that name dir in their arguments, work in it, or have their root there.
// Below skipped directories it looks for no files.
func Left(t testing.TB, dir string, skipped ...string) []string {
	t.Helper()
	list, err := temporary(dir, skipped)
	for _, find := range []func(string) ([]string, error){mounts, loops, processes} {
		more, findErr := find(dir)
		list, err = append(list, more...), errors.Join(err, findErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// AwaitNothing waits until Left is empty, and fails the test if it does not become so:
// the kernel ends killed processes, and their mounts, some time after the signal.
func AwaitNothing(t testing.TB, when, dir string, skipped ...string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-again.C {
		left := Left(t, dir, skipped...)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: left over:\n%s", when, strings.Join(left, "\n"))
		}
	}
}

// isTemporary reports whether a name is one of those that unfinished work or a
// claim has.
func isTemporary(name string) bool {
	// Of lock files, those of one guest and of one change end with it; others stay.
	if of, isLock := strings.CutSuffix(strings.TrimPrefix(name, "."), ".lock"); isLock {
		return of == "rollout" || of == "pin-rotate" || strings.Trim(of, "0123456789") == ""
	}
	return strings.HasSuffix(name, ".part") || strings.Contains(name, "tmp") && (strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp")) ||
		strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".partial")
}

func temporary(dir string, skipped []string) (list []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		case e.IsDir() && slices.Contains(skipped, path):
			return filepath.SkipDir
		case path != dir && isTemporary(e.Name()):
			list = append(list, path)
			if e.IsDir() {
				return filepath.SkipDir
			}
		}
		return nil
	})
	return list, err
}

// mounts looks into each process: a namespace that has a mount lives as long as one of
// its processes.
func mounts(dir string) (list []string, err error) {
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		return nil, err
	}
	for _, name := range tables {
		data, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(data, []byte(dir)) {
			continue // the process has ended, or has no such mount
		}
		all, err := mountinfo.Parse(string(data))
		if err != nil {
			return nil, err
		}
		for _, point := range mountinfo.Below(all, dir) {
			list = append(list, "mount "+point+" of process "+filepath.Base(filepath.Dir(name)))
		}
	}
	return list, nil
}

func loops(dir string) (list []string, err error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil && isBelow(strings.TrimSpace(string(data)), dir) {
			list = append(list, "loop device "+strings.Split(name, "/")[3]+" on "+strings.TrimSpace(string(data)))
		}
	}
	return list, err
}

func processes(dir string) (list []string, err error) {
	all, err := filepath.Glob("/proc/[0-9]*")
	for _, proc := range all {
		line, _ := os.ReadFile(filepath.Join(proc, "cmdline")) // it may have ended, as below
		work, _ := os.Readlink(filepath.Join(proc, "cwd"))
		root, _ := os.Readlink(filepath.Join(proc, "root"))
		if bytes.Contains(line, []byte(dir+"/")) || isBelow(work, dir) || isBelow(root, dir) {
			list = append(list, "process "+filepath.Base(proc)+": "+strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
		}
	}
	return list, err
}

func isBelow(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
