package provision

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fault"
)

// FuzzTemplates: a list of templates that is read is written so that it is read as the
// same, and one that is refused gives none and names its file.
func FuzzTemplates(f *testing.F) {
	js := journalsIn(f.TempDir())
	if err := os.MkdirAll(js.dir, 0o700); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		`{"version":1,"templates":[{"vmid":9001,"id":"0a","phase":"ready","golden":"/a.tar.zst","storage":"local-lvm"},{"vmid":9000,"id":"0b","phase":"making"}]}`, `{"version":1,"templates":null}`, `{"version":2}`, `{"version":1,"templates":[{}]}`, `null`, "", `{"version":1,"templates":[{"vmid":-1,"id":"x","phase":"x"}]}`, `{"version":1,"templates":[{"vmid":1,"id":"x","phase":"x"}`,
	} {
		f.Add([]byte(s))
	}
	file := filepath.Join(js.dir, templatesFile)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := js.readTemplates()
		if err != nil {
			if list != nil || fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" || !strings.Contains(err.Error(), file) {
				t.Errorf("%q gives %+v and the error %v", data, list, err)
			}
			return
		}
		if err := js.writeTemplates(list); err != nil {
			t.Fatalf("%q cannot be written: %v", data, err)
		}
		again, err := js.readTemplates()
		if err != nil || len(again) != len(list) {
			t.Fatalf("%q is written and read as %+v, %v", data, again, err)
		}
		if err := js.writeTemplates(again); err != nil {
			t.Fatal(err)
		}
		twice, err := js.readTemplates()
		a, errA := json.Marshal(again)
		b, errB := json.Marshal(twice)
		if err != nil || errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%q is written and read with %v:\n%s\n%s", data, err, a, b)
		}
	})
}

// FuzzDescription: a guest's description has the ID that was put there last, and keeps
// the lines of others.
func FuzzDescription(f *testing.F) {
	for _, s := range []string{"", "a guest\n", marker + "00\nmine\n", " " + marker + "00", "a\r\n" + marker, marker, "x" + marker + "00\n", "\xff\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, before string) {
		const id = "0123456789abcdef"
		after := describe(before, id)
		if got := IDOf(after); got != id {
			t.Errorf("%q becomes %q, which has the ID %q", before, after, got)
		}
		if again := describe(after, id); IDOf(again) != id || strings.Count(again, marker+id) != 1 {
			t.Errorf("%q becomes %q, then %q", before, after, again)
		}
		for line := range strings.SplitSeq(before, "\n") {
			if !strings.Contains(line, marker) && !strings.Contains(after, line) {
				t.Errorf("%q becomes %q, without %q", before, after, line)
			}
		}
	})
}

// FuzzNameServers: a name server of the host is given to guests only if they can reach it.
func FuzzNameServers(f *testing.F) {
	for _, s := range []string{"nameserver 192.0.2.53\nsearch example\n", "nameserver 127.0.0.53\noptions edns0 trust-ad\n", "nameserver ::1\nnameserver fe80::1%vmbr0\nnameserver 2001:db8::53 # x\n", "nameserver\nnameserver 0.0.0.0\n", "nameserver ::ffff:127.0.0.1\n", "#nameserver 192.0.2.1\n", "\x00"} {
		f.Add([]byte(s))
	}
	file := filepath.Join(f.TempDir(), "resolv.conf")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, server := range reachable(file) {
			if strings.ContainsAny(server, " \t\r\n") || strings.HasPrefix(server, "127.") || server == "::1" || strings.HasPrefix(server, "::ffff:127.") || strings.Contains(server, "%") {
				t.Errorf("%q has the server %q", data, server)
			}
		}
	})
}
