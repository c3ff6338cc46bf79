package soak_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/soak"
)

func TestKillEndsTheCommand(t *testing.T) {
	random, _ := soak.Start(t, 1)
	for range 8 {
		cmd := exec.Command("sleep", "600")
		what := soak.Kill(t, cmd, random, 10*time.Millisecond)
		if !strings.Contains(cmd.ProcessState.String(), "killed") {
			t.Errorf("%s: %v", what, cmd.ProcessState)
		}
	}
}

// What killed commands leave is found, and what is in order is not.
func TestLeft(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	left := []string{".8200.json.ABCDEFGH.tmp", "8200.lock", ".8200.lock", "rollout.lock", ".tmp-x", ".felhom-golden-tmp-x", ".8200.partial", "x.part"}
	for _, name := range append([]string{"audit.lock", "8200.json", "mine.tmpl", "root/.tmp-x"}, left...) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for _, name := range left {
		want = append(want, filepath.Join(dir, name))
	}
	slices.Sort(want)
	if got := soak.Left(t, dir, root); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	cmd := exec.Command("sleep", "600")
	cmd.Dir = root
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	at := func() int {
		return slices.IndexFunc(soak.Left(t, root), func(s string) bool { return strings.HasPrefix(s, "process ") && strings.HasSuffix(s, ": sleep 600") })
	}
	if at() < 0 {
		t.Error("a process that works in the directory is not found")
	}
	_ = cmd.Process.Kill() // it cannot have ended
	_ = cmd.Wait()
	if at() >= 0 {
		t.Error("a process that has ended is found")
	}
}
