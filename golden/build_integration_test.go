//go:build integration

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/enter/entertest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// bakeRecipe is the smallest image that verify passes as a golden image.
const bakeRecipe = `version: 1
apt: {security: false}
output: {compression: fast}
`

// bakePrograms builds felhom-golden and two felhom-controller-bootstrap that
// differ, once for all tests, and makes sure that what they call is installed.
func bakePrograms(t *testing.T) (golden, bootstrap, changed string) {
	t.Helper()
	if err := testbed.Require(t.Context(), os.Stderr, "mmdebstrap", "zstd", "unshare", "tar"); err != nil {
		t.Fatal(err)
	}
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, program), filepath.Join(dir, "felhom-controller-bootstrap"), filepath.Join(dir, "changed")
}

// programs is the directory of what [bakePrograms] has built.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "felhom-golden-programs-")
	if err != nil {
		return "", err
	}
	after = append(after, func() error { return os.RemoveAll(dir) })
	for _, p := range [][2]string{{program, "."}, {"felhom-controller-bootstrap", "../bootstrapper"}, {"changed", "../bootstrapper"}} {
		// As in the Makefile, apart from the version: its build has compiled the packages.
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs", "-ldflags", "-s -w -X main.version="+p[0], "-o", filepath.Join(dir, p[0]), p[1])
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", p[1], err, text)
		}
	}
	return dir, nil
})

// bake runs felhom-golden build and returns the archive's path and what was
// written to stderr.
func bake(t *testing.T, cmd *exec.Cmd) (archive, log string) {
	t.Helper()
	return bakeBy(t, cmd, cmd.Run)
}

// bakeBy is [bake] with what runs the command.
func bakeBy(t *testing.T, cmd *exec.Cmd, run func() error) (archive, log string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := run(); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String()), stderr.String()
}

// packed returns what the build said of its base frame: reused or done.
func packed(t *testing.T, log string) string {
	t.Helper()
	for line := range strings.Lines(log) {
		if words := strings.Fields(strings.TrimPrefix(line, program+": ")); len(words) > 1 && words[0] == "pack" && (words[1] == "done" || words[1] == "reused") { // others show how far it is
			return words[1]
		}
	}
	t.Fatalf("no line about pack:\n%s", log)
	return ""
}

// twiceRecipe has in it what could depend on where it is baked.
const twiceRecipe = bakeRecipe + `files:
  - {path: /opt/tree, source: tree}
scripts:
  - {path: s.sh, args: ["a b"], env: {QUOTED: "' \" $HOME"}}
`

const twiceScript = `#!/bin/sh
set -e
test ! -s /etc/resolv.conf
echo "$1 $QUOTED" > /etc/ran
`

// writeTwice makes the recipe's directory, with files of this mode.
func writeTwice(t *testing.T, mode fs.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"golden.yaml": twiceRecipe, "s.sh": twiceScript, "tree/f": "f"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "golden.yaml")
}

// TestBuildTwice bakes one recipe twice with everything different that must
// not matter, the first time after a build that was killed, and continues with
// what a finished base makes cheap.
func TestBuildTwice(t *testing.T) {
	golden, bootstrap, changed := bakePrograms(t)
	shm, err := os.MkdirTemp("/dev/shm", "golden-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(shm); err != nil {
			t.Error(err)
		}
	})
	// A host name of its own, in a namespace of its own.
	const script = `umask "$1"; hostname "$2"; cd "$3"; exec "$4" build --out . --recipe "$5" --bootstrap "$6" --cache "$3/cache"`
	one, two := t.TempDir(), shm
	var archives, recipes []string
	for i, v := range []struct {
		dir, umask, host string
		mode             fs.FileMode
		env              []string
		contained        bool // in an unprivileged container
	}{
		{one, "022", "one", 0o644, []string{"TZ=UTC"}, false},
		{two, "077", "other.example", 0o600, []string{"TZ=Asia/Tokyo", "LC_ALL=POSIX", "LANG=de_DE.UTF-8", "HOME=/nowhere", "TMPDIR=" + shm}, true},
	} {
		recipe := writeTwice(t, v.mode)
		if i == 0 {
			b := bakery{golden: golden, bootstrap: bootstrap, recipe: recipe, cache: filepath.Join(one, "cache")}
			b.kill(t, t.TempDir(), func(string) bool { return exists(filepath.Join(b.cache, "layers/.tmp-*/root/var/lib/dpkg/status")) })
		}
		cmd := exec.Command("unshare", "--uts", "sh", "-ec", script, "sh", v.umask, v.host, v.dir, golden, recipe, bootstrap)
		cmd.Env = append(os.Environ(), v.env...)
		run := cmd.Run
		if v.contained {
			run = func() error { return entertest.RunContained(cmd, true) }
		}
		archive, log := bakeBy(t, cmd, run)
		if got := packed(t, log); got != "done" {
			t.Errorf("build %d with an empty cache: want the frame done again, got %q", i+1, got)
		}
		if !strings.Contains(log, ", 0 warning(s)") {
			t.Errorf("want no warning about the built-in packages:\n%s", log)
		}
		archives, recipes = append(archives, archive), append(recipes, recipe)
	}
	same(t, golden, archives[0], archives[1])
	if filepath.Base(archives[0]) != filepath.Base(archives[1]) {
		t.Errorf("names differ: %s and %s", archives[0], archives[1])
	}
	if out, err := exec.Command(golden, "verify", archives[0]).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	listing, err := exec.Command("tar", "--zstd", "-tf", archives[1]).Output()
	if err != nil {
		t.Fatalf("list with GNU tar: %v", err)
	}
	if !strings.Contains(string(listing), "./etc/vzdump/pct.conf\n") {
		t.Error("tar does not list ./etc/vzdump/pct.conf")
	}
	if n := strings.Count(string(listing), "\n"); n < 3000 || !strings.Contains(string(listing), "bin/dockerd\n") {
		t.Errorf("want a whole system with dockerd, got %d members", n)
	}

	for name, want := range map[string]string{"./etc/ran": "a b ' \" $HOME\n", "./opt/tree/f": "f"} {
		if got, err := exec.Command("tar", "--zstd", "-xOf", archives[1], name).Output(); err != nil || string(got) != want {
			t.Errorf("%s: want %q, got %q %v", name, want, got, err)
		}
	}

	b := bakery{golden: golden, bootstrap: bootstrap, recipe: recipes[0], cache: filepath.Join(one, "cache")}
	t.Run("another bootstrap program", func(t *testing.T) {
		b := b
		b.bootstrap = changed
		archive, log := bake(t, b.build(t.TempDir()))
		if got := packed(t, log); got != "reused" {
			t.Errorf("want the base frame reused, got %q\n%s", got, log)
		}
		out, err := exec.Command(golden, "build", "--explain", archives[0], archive).CombinedOutput()
		if err == nil || strings.Count(string(out), " -> ") != 1 || !strings.Contains(string(out), "felhom-controller-bootstrap: ") {
			t.Errorf("want the program as the one input that differs, got %v\n%s", err, out)
		}
		// The build has read the base's frames for their digest only.
		if !exists(filepath.Join(b.cache, "frames/*.verified")) {
			t.Error("nothing is kept of what verify found in the base")
		}
		if out, err := exec.Command(golden, "verify", archive).CombinedOutput(); err != nil {
			t.Errorf("verify: %v\n%s", err, out)
		}
	})
	t.Run("authorities", func(t *testing.T) { testTrust(t, b) })
	t.Run("release", func(t *testing.T) { testRelease(t, b) })
	t.Run("images", func(t *testing.T) { testImages(t, b) })
	t.Run("script fails", func(t *testing.T) { testScriptFails(t, b) })
	t.Run("disk full", func(t *testing.T) { testDiskFull(t, b, archives[0]) })
	t.Run("killed", func(t *testing.T) { testKilled(t, b, archives[0]) })
	t.Run("killed at random", func(t *testing.T) { testKilledAtRandom(t, b, archives[0]) })
}

// same fails with what felhom-golden itself says of the difference.
func same(t *testing.T, golden, a, b string) {
	t.Helper()
	out, err := exec.Command("cmp", a, b).CombinedOutput()
	if err == nil {
		return
	}
	why, _ := exec.Command(golden, "build", "--explain", a, b).CombinedOutput()
	t.Errorf("the archives differ: %s%s", out, why)
}
