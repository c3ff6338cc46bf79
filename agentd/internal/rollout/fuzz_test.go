package rollout

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/fault"
)

// FuzzJournal: what is read of a journal is written so that a later run reads the same.
func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	r := &Rollout{options: Options{StateDir: dir}}
	for _, s := range []string{
		`{"version":1,"plan":{"image":"registry.example/app:v2","guests":[8200,8201],"wave":1,"max_failures":0,"wait":300000000000},"guests":[{"guest":8200,"state":"started","expected":"updated","after":"r1"},{"guest":8201,"state":"pending"}]}`,
		`{"version":1,"plan":{"image":"a"},"guests":[]}`, `{"version":2}`, `null`, `{"version":1,"plan":{"image":"a"},"guests":[{"seconds":1e999}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, journalName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := r.read()
		if err != nil {
			if j != nil || fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" {
				t.Errorf("%q: journal %v, error %v", data, j, err)
			}
			return
		}
		if err := r.write(j); err != nil {
			t.Fatalf("%q cannot be written: %v", data, err)
		}
		again, err := r.read()
		if d := cmp.Diff(j, again); d != "" || err != nil {
			t.Errorf("%q is written and read with %v:\n%s", data, err, d)
		}
	})
}
