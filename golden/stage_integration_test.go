//go:build integration

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const smallRecipe = `version: 1
apt: {security: false}
packages:
  exclude: [docker.io, iptables, ca-certificates, dhcpcd-base, ifupdown, iproute2]
files:
  - {path: /opt/tree, source: tree}
scripts:
  - {path: s.sh, args: ["a b"], env: {QUOTED: "' \" $HOME"}}
`

func programs(t *testing.T) (golden, bootstrap string) {
	t.Helper()
	dir := t.TempDir()
	golden, bootstrap = filepath.Join(dir, program), filepath.Join(dir, "felhom-controller-bootstrap")
	for out, pkg := range map[string]string{golden: ".", bootstrap: "."} { // any static program will do for the second
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	return golden, bootstrap
}

func writeRecipe(t *testing.T, fileMode fs.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"golden.yaml": smallRecipe, "s.sh": "#!/bin/sh\nset -e\necho \"$1 $QUOTED\" > /etc/ran\ntest ! -e /etc/resolv.conf || test ! -s /etc/resolv.conf\nexit ${FAIL:-0}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tree/f"), []byte("f"), fileMode); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "golden.yaml")
}

// snapshot describes every entry of a root but for its time, which pack clamps.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		rest := ""
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			rest = hex.EncodeToString(sum[:8])
		case info.Mode()&fs.ModeSymlink != 0:
			if rest, err = os.Readlink(name); err != nil {
				return err
			}
		}
		rel, err := filepath.Rel(root, name)
		all[rel] = fmt.Sprintf("%v %d:%d %s", info.Mode(), st.Uid, st.Gid, rest)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestStageTwice stages one recipe twice with everything different that must
// not matter: folder and file system, host name, zone, locale, umask.
func TestStageTwice(t *testing.T) {
	golden, bootstrap := programs(t)
	shm, err := os.MkdirTemp("/dev/shm", "golden-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(shm); err != nil {
			t.Error(err)
		}
	})
	roots := []string{}
	for i, v := range []struct {
		dir, umask, host string
		mode             fs.FileMode
		env              []string
	}{
		{t.TempDir(), "022", "one", 0o644, nil},
		{shm, "077", "other.example", 0o600, []string{"TZ=Asia/Tokyo", "LC_ALL=POSIX", "LANG=de_DE.UTF-8", "HOME=/nowhere", "TMPDIR=" + shm}},
	} {
		root := filepath.Join(v.dir, "root")
		// A host name of its own, in a namespace of its own.
		script := `umask "$1"; hostname "$2"; exec "$5" stage "$4/root" --recipe "$6" --bootstrap "$7" --cache "$4/cache"`
		cmd := exec.Command("unshare", "--uts", "sh", "-ec", script, "sh", v.umask, v.host, fmt.Sprint(i+1), v.dir, golden, writeRecipe(t, v.mode), bootstrap)
		cmd.Env = append(os.Environ(), v.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %d: %v\n%s", i+1, err, out)
		}
		roots = append(roots, root)
	}
	one, two := snapshot(t, roots[0]), snapshot(t, roots[1])
	if len(one) < 3000 {
		t.Errorf("want a whole system, found %d entries", len(one))
	}
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("the two roots differ, -first +second:\n%s", diff)
	}
	if got, err := os.ReadFile(filepath.Join(roots[0], "etc/ran")); err != nil || string(got) != "a b ' \" $HOME\n" {
		t.Errorf("the script's arguments did not arrive: %q %v", got, err)
	}

	t.Run("script fails", func(t *testing.T) {
		recipe := writeRecipe(t, 0o644)
		if err := os.WriteFile(filepath.Join(filepath.Dir(recipe), "s.sh"), []byte("#!/bin/sh\necho last words\nexit 7\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(golden, "stage", filepath.Join(shm, "failed"), "--recipe", recipe, "--bootstrap", bootstrap, "--cache", filepath.Join(shm, "cache")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "want exit status 0, found 7; it wrote last:\nfelhom-golden: last words") {
			t.Errorf("found %v\n%s", err, out)
		}
		if left, _ := filepath.Glob(filepath.Join(shm, "*failed*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}
