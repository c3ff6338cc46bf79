package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/debroot"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/isolate"
)

// The status of a dpkg that failed is in the message.
func TestClassifyNamesTheStatusOfDpkg(t *testing.T) {
	err := classify("apt or dpkg", &debroot.DpkgError{Code: 2}, "dpkg: error processing package p", &Plan{})
	if err == nil || !strings.Contains(err.Error(), "ended with status 2: dpkg: error processing package p") {
		t.Errorf("got %v", err)
	}
}

// The flag wins over the recipe.
func TestResolveEngine(t *testing.T) {
	var state atomic.Value
	state.Store("")
	url := mirror(t, &state)
	for _, tt := range []struct {
		recipe string
		flag   Engine
		want   Engine
	}{
		{"engine: dpkg\n", "", Dpkg},
		{"engine: mmdebstrap\n", "", Mmdebstrap},
		{"engine: dpkg\n", Mmdebstrap, Mmdebstrap},
		{"engine: mmdebstrap\n", Dpkg, Dpkg},
	} {
		r, err := recipe.Parse("test", []byte(tt.recipe))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Resolve(t.Context(), r, Options{Machine: machine(url), Engine: tt.flag})
		if err != nil || p.Engine != tt.want {
			t.Errorf("%q, flag %q: want %s, got %s, %v", tt.recipe, tt.flag, tt.want, p.Engine, err)
		}
	}
}

func TestDiskHint(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	for _, err := range []error{full, fmt.Errorf("wrapped: %w", full), errors.New("cp: error writing 'x': No space left on device")} {
		if got := diskHint(err); fault.Of(got) != fault.Failed || !strings.Contains(fault.HintOf(got), "disk is full") {
			t.Errorf("%v: want the full disk, got %v (hint %q)", err, got, fault.HintOf(got))
		}
	}
	if diskHint(nil) != nil || fault.HintOf(diskHint(fs.ErrNotExist)) != "" {
		t.Error("want no hint without a full disk")
	}
}

// A directory or a package can be called like a cause.
func TestNamesAreNotCauses(t *testing.T) {
	const full = "disk is full"
	for _, tt := range []struct {
		text string // what cp or dpkg wrote
		full bool
	}{
		{"cp: error writing '/c/a': No space left on device", true},
		{"cp: error writing '/c/a': No space left on device\ncp: x", true},
		{"dpkg: error processing archive a.deb: cannot copy extracted data for './x' to './x.dpkg-new': failed to write (No space left on device)", true},
		{"E: Write error - write (28: No space left on device)", true},
		{"E: You don't have enough free space: No space left on device.", true},
		{"close failed: No space left on device at /usr/share/perl5/Debconf/DbDriver/File.pm line 12.", true},
		{"print: No space left on device at /usr/bin/x line 3, <STDIN> line 9.", true},
		{"OSError: [Errno 28] No space left on device: '/x'", true},
		{"Error: No space left on device (os error 28)", true},
		{"cp: cannot create directory '/c/No space left on device': Permission denied", false},
		{"cp: cannot create directory '/c/x: No space left on device': Permission denied", false},
		{"cp: cannot stat '/c/x: No space left on device/b': No such file or directory", false},
		{"dpkg: error processing archive /c/No space left on device/a.deb (--unpack):", false},
	} {
		program := &run.Error{Command: "cp --archive '/c/x: No space left on device' /d", ExitCode: 1, Stderr: tt.text + "\n", Err: errors.New("exit status 1")}
		if got := fault.HintOf(diskHint(program)); strings.Contains(got, full) != tt.full {
			t.Errorf("%s: want a full disk %v, got the hint %q", tt.text, tt.full, got)
		}
		if got := fault.HintOf(classify("apt or dpkg", program, "Get:1 x\n"+program.Error(), &Plan{})); strings.Contains(got, full) != tt.full {
			t.Errorf("packages: %s: want a full disk %v, got the hint %q", tt.text, tt.full, got)
		}
	}
	for text, want := range map[string]bool{
		"run dpkg: start /usr/bin/dpkg: exec format error":                  true,
		"open /c/exec format error/a.deb: no such file or directory":        false,
		"open /c/x: exec format error/root: start /bin/sh: not a directory": false,
	} {
		if got := cannotRun.MatchString(text); got != want {
			t.Errorf("%s: want a program that cannot run %v, got %v", text, want, got)
		}
	}
}

// No program of the image could run there, which would show after the download alone.
func TestFillWithNoexec(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	for name, flags := range map[string]uintptr{"exec": 0, "noexec": unix.MS_NOEXEC} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "size=64k"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		err := checkExec(dir)
		if flags == 0 && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if flags == 0 {
			continue
		}
		for _, e := range []Engine{Dpkg, Mmdebstrap} {
			err := (&Plan{Engine: e}).fill(t.Context(), dir, Cache{Dir: dir}, Hooks{})
			if fault.Of(err) != fault.Failed || !strings.Contains(err.Error(), "noexec") || fault.HintOf(err) == "" {
				t.Errorf("%s: want noexec with a hint, got %v", e, err)
			}
		}
	}
}
