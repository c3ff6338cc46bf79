package bootstrap

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/bootstrapper/internal/settings"
)

// TestSettingsOfAnotherOwnerAreRepaired: the right bytes under the right mode
// can be read and changed by another user as long as that user owns the file.
func TestSettingsOfAnotherOwnerAreRepaired(t *testing.T) {
	s := settingsStep{dir: t.TempDir(), values: settings.Values{HostID: "h", Token: "token"}}
	path := filepath.Join(s.dir, SettingsFile)
	for _, want := range []Outcome{Changed, Unchanged, Changed, Unchanged} {
		r, err := s.render()
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.write()
		if err != nil || out.Outcome != want {
			t.Fatalf("outcome %+v, %v, want %s", out, err, want)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != os.Geteuid() || info.Mode() != 0o600 {
			t.Errorf("uid %d mode %v, want %d 0600", st.Uid, info.Mode(), os.Geteuid())
		}
		if want == Unchanged {
			if err := os.Chown(path, 1000, 1000); err != nil {
				t.Fatalf("chown (this test needs root): %v", err)
			}
		}
	}
}

// TestLeftoversOfAKilledWriteAreSwept: they hold the token.
func TestLeftoversOfAKilledWriteAreSwept(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".controller.yaml.ABCDEFGH.tmp", ".controller.yaml", "controller.yaml.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (rendered{dir: dir, data: []byte("x")}).write(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{".controller.yaml", SettingsFile, "controller.yaml.tmp"}; !slices.Equal(got, want) {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
}
