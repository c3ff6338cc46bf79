package build

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
)

func TestTargetPath(t *testing.T) {
	dir := t.TempDir()
	r, err := recipe.Default()
	if err != nil {
		t.Fatal(err)
	}
	epoch := time.Date(2026, 11, 22, 2, 9, 5, 0, time.FixedZone("x", 3600))
	want := filepath.Join(dir, "vzdump-lxc-9100-2026_11_22-01_09_05.tar.zst")
	got, err := targetPath(Target{Dir: dir}, r, epoch)
	if err != nil || got != want {
		t.Errorf("want %s, got %s %v", want, got, err)
	}
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := targetPath(Target{Dir: dir}, r, epoch); fault.Of(err) != fault.Misuse || !strings.Contains(fault.HintOf(err), "--force") {
		t.Errorf("archive is there: want misuse with a hint, got %v", err)
	}
	if got, err := targetPath(Target{Dir: dir, Force: true}, r, epoch); err != nil || got != want {
		t.Errorf("with force: got %s %v", got, err)
	}
	if _, err := targetPath(Target{Dir: filepath.Join(dir, "none")}, r, epoch); fault.Of(err) != fault.Misuse {
		t.Errorf("directory is missing: want misuse, got %v", err)
	}
}

// A place that no archive can be written to is refused before any work: with
// these settings every later step panics.
func TestRunChecksTargetFirst(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []Target{{Dir: filepath.Join(dir, "none")}, {Dir: file}, {Path: filepath.Join(dir, "none", "a.tar.zst")}, {Path: file}} {
		if _, err := Run(t.Context(), recipe.Recipe{}, target, Settings{}); fault.Of(err) != fault.Misuse || fault.HintOf(err) == "" {
			t.Errorf("%+v: want misuse with a hint, got %v", target, err)
		}
	}
}

func TestCheckEmpty(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]fault.Kind{dir: fault.None, filepath.Join(dir, "none"): fault.None, "/proc/self/status": fault.Misuse, "/etc": fault.Misuse} {
		if err := checkEmpty(path); fault.Of(err) != want {
			t.Errorf("%s: want %v, got %v", path, want, err)
		}
	}
}

func TestReadRecord(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if _, err := readRecord(root); fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" {
		t.Errorf("missing: want it refused with a hint, got %v", err)
	}
	if err := os.WriteFile(root+RecordSuffix, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(root); fault.Of(err) != fault.Invalid {
		t.Errorf("broken: want refused, got %v", err)
	}
}

func TestLastWords(t *testing.T) {
	var all bytes.Buffer
	l := &lastWords{to: &all}
	text := strings.Repeat("x", 3*maxLastWords) + "end\n"
	if _, err := l.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if got := l.String(); len(got) >= maxLastWords || !strings.HasSuffix(got, "xend") {
		t.Errorf("want the end only, got %d bytes", len(got))
	}
	if diff := cmp.Diff(text, all.String()); diff != "" {
		t.Errorf("not all was passed on:\n%s", diff)
	}
}

func TestDistinctiveNames(t *testing.T) {
	for name, want := range map[string]string{
		"vm": "", "debian": "", "localhost": "", "localhost.localdomain": "", "build-07": "build-07",
		"build-07.corp.example": "build-07.corp.example build-07", "vm.corp.example": "vm.corp.example", "6f1c09a1b2c3": "6f1c09a1b2c3", "workstation": "workstation",
		"Build-07": "Build-07 build-07", "BUILD-07.Corp.example": "BUILD-07.Corp.example BUILD-07 build-07.corp.example build-07", "Workstation": "Workstation", "VM": "",
	} {
		if got := strings.Join(distinctive(name), " "); got != want {
			t.Errorf("%s: want %q, got %q", name, want, got)
		}
	}
}
