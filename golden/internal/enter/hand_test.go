package enter_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/golden/internal/enter/entertest"
	"github.com/felhom/felhom-golden/internal/fault"
)

// A directory that is handed in can be read, and nothing more; the root and the machine are as before.
func TestHand(t *testing.T) {
	root := entertest.Root(t, "cat", "touch", "ls")
	before := tree(t, root)
	hand := t.TempDir()
	if err := os.WriteFile(filepath.Join(hand, "f"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, code := in(t, enter.Options{Root: root, Hand: hand}, "cat "+enter.HandDir+"/f")
	if code != 0 || got != "text" {
		t.Errorf("read: want text, got %q, status %d", got, code)
	}
	for _, line := range []string{"touch " + enter.HandDir + "/new", "echo x >" + enter.HandDir + "/f"} {
		if got, code := in(t, enter.Options{Root: root, Hand: hand}, line); code == 0 || !strings.Contains(got, "Read-only") {
			t.Errorf("%s: want read-only, got %q, status %d", line, got, code)
		}
	}
	if got, code := in(t, enter.Options{Root: root}, "ls "+enter.HandDir); code == 0 {
		t.Errorf("without Hand: got %q", got)
	}
	if _, err := enter.Run(t.Context(), enter.Options{Root: root, Argv: []string{"sh"}, Hand: hand + "/none"}); fault.Of(err) != fault.Failed || !strings.Contains(err.Error(), "/none") {
		t.Errorf("missing: want an error with the path, got %v", err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("left in the root, -before +after:\n%s", diff)
	}
	checkNoMount(t, hand)
}

// TestNoSync: fsync of /dev/null is an error of the kernel, so success shows that it was not asked.
func TestNoSync(t *testing.T) {
	root := entertest.Root(t, "dd", "cat")
	const line = "dd if=/dev/zero of=/dev/null count=1 conv="
	for _, call := range []string{"fsync", "fdatasync"} {
		if got, code := in(t, enter.Options{Root: root}, line+call); code == 0 {
			t.Errorf("%s without NoSync: want an error, got %q", call, got)
		}
		if got, code := in(t, enter.Options{Root: root, NoSync: true}, line+call); code != 0 {
			t.Errorf("%s with NoSync: want success, got %q", call, got)
		}
	}
	if got, code := in(t, enter.Options{Root: root, NoSync: true}, "echo x >/tmp/f && cat /tmp/f"); code != 0 || got != "x\n" {
		t.Errorf("other calls: want x, got %q, status %d", got, code)
	}
}
