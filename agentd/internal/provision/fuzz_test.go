package provision

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fault"
)

// FuzzJournal: what is read of a journal is written so that a later run reads the
// same; what is refused names the file and what to do.
func FuzzJournal(f *testing.F) {
	js := journalsIn(f.TempDir())
	if err := os.MkdirAll(js.dir, 0o700); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		`{"version":1,"vmid":8200,"id":"0123456789abcdef","new_record":true,"new_mount":true,"golden":"local:backup/a.tar.zst","restoring":true,"storage":"local-lvm"}`,
		`{"version":1,"vmid":8200,"id":"x","before":{"version":1,"vmid":8200},"after":"r","mounted":true}`, `{"version":1,"vmid":8201,"id":"x"}`, `{"version":1,"vmid":8200}`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(js.dir, journalName(8200))
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := js.read(8200)
		if err != nil {
			if fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" || !strings.Contains(err.Error(), file) {
				t.Errorf("%q: error %v", data, err)
			}
			return
		}
		if j.VMID != 8200 || j.ID == "" {
			t.Errorf("%q is the journal %+v", data, j)
		}
		if err := js.write(j); err != nil {
			t.Fatalf("%q cannot be written: %v", data, err)
		}
		again, err := js.read(8200)
		before, errBefore := json.Marshal(j)
		after, errAfter := json.Marshal(again)
		if err != nil || errBefore != nil || errAfter != nil || string(before) != string(after) {
			t.Errorf("%q is written and read with %v:\n%s\n%s", data, err, before, after)
		}
	})
}

// FuzzEnvFile: a variable of a file has a name, and a value of one line.
func FuzzEnvFile(f *testing.F) {
	file := filepath.Join(f.TempDir(), "env")
	for _, s := range []string{"A=b\nTOKEN=x y\n", "# c\n\nA=\n", "A", "=b", "A=b\nA=c\n", "A=\x00", "export A=b", "A=b\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, value := range readEnv(t, file) {
			if name == "" || strings.ContainsAny(name, "= \t\n\x00") || strings.ContainsAny(value, "\n\x00") {
				t.Errorf("%q has %q with the value %q", data, name, value)
			}
		}
	})
}

func readEnv(t *testing.T, file string) map[string]string {
	t.Helper()
	values, err := ReadEnvFile(file)
	if err != nil && values != nil {
		t.Errorf("values %v with the error %v", values, err)
	}
	return values
}
