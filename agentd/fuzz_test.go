package main

import (
	"crypto/x509"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/pin"
)

// FuzzLineage: what was known of the guests' disks is read so that it is written as the
// same, and a file that is refused is not known in part.
func FuzzLineage(f *testing.F) {
	for _, s := range []string{
		`{"guests":{"8200":{"id":"0a","macs":["bc:24:11:00:00:0a"],"parent":"s1","snapshots":{"s1":"1700000000"}}},"ends":{"8200":0},"since":{"8200":"2026-01-02T03:04:05Z"},"waiting":{"8201":{"kind":"guest-replaced","detail":"x","seen":"2026-01-02T03:04:05Z"}}}`,
		`{"guests":{"8200":{}},"ends":"x"}`, `{"ends":{"8200":-1}}`, `{"ends":{"8200":9223372036854775807},"since":{"8200":"9999-01-02T03:04:05Z"}}`, `null`, `{"guests":null}`, "", `{"guests":{}} x`, `{"waiting":{"8200":{"seen":"10000-01-01T00:00:00Z"}}}`,
	} {
		f.Add([]byte(s))
	}
	a := &ancestry{cfg: config.Config{StateDir: f.TempDir()}}
	f.Fuzz(func(t *testing.T, data []byte) {
		a.now, a.onDisk = followed{}, ""
		if err := os.WriteFile(a.file(), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.read(); err != nil {
			if !reflect.DeepEqual(a.now, followed{}) || a.onDisk != "" {
				t.Errorf("%q is refused with %v, and known is %+v", data, err, a.now)
			}
			return
		}
		a.overdue()
		before := a.now
		if err := a.keep(); err != nil {
			t.Fatalf("%q is read, and cannot be written: %v", data, err)
		}
		a.now = followed{}
		if err := a.read(); err != nil {
			t.Fatalf("%q is written so that it cannot be read: %v", data, err)
		}
		onDisk := a.onDisk
		if err := a.keep(); err != nil || a.onDisk != onDisk {
			t.Errorf("%q is written as %s, then as %s, %v; it was %+v", data, onDisk, a.onDisk, err, before)
		}
	})
}

// FuzzRotation: whatever is in rotation.json, a rotation continues only to a key that the
// host has, and what is written for it is read as the same.
func FuzzRotation(f *testing.F) {
	key := func(text string) *x509.Certificate {
		return &x509.Certificate{Raw: []byte("leaf of " + text), RawSubjectPublicKeyInfo: []byte(text)}
	}
	pins := pin.Set{pin.SPKIOf(key("current")), pin.SPKIOf(key("next"))}
	others := pin.Set{pin.SPKIOf(key("restored")), pin.SPKIOf(key("restored next"))}
	current, next := pins[0].String(), pins[1].String()
	for _, seed := range []struct {
		text string
		want pin.Pin
	}{
		{`{"to":"` + next + `"}` + "\n", pins[1]},
		{`{"to":"` + current + `"}` + "\n", pins[0]},
		{`{"to":"` + current + `","to":"` + next + `","more":[1]}`, pins[1]},
		{`{"to":"` + others[1].String() + `"}`, pin.Pin{}},
		{`{"to":"` + pin.LeafOf(key("next")).String() + `"}`, pin.Pin{}},
		{`{"to":"` + next + `"}x`, pin.Pin{}},
		{`{"to":"` + next, pin.Pin{}},
		{`{"to":"` + strings.TrimPrefix(next, "sha256//") + `"}`, pin.Pin{}},
		{`{"to":null}`, pin.Pin{}},
		{`{"to":""}`, pin.Pin{}},
		{`["` + next + `"]`, pin.Pin{}},
		{"null", pin.Pin{}},
		{"\x00\x00\x00\x00", pin.Pin{}},
		{"", pin.Pin{}},
	} {
		if got := interrupted([]byte(seed.text), pins); got != seed.want {
			f.Errorf("%q continues to %q, want %q", seed.text, got, seed.want)
		}
		f.Add([]byte(seed.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		to := interrupted(data, pins)
		if to.IsZero() {
			return
		}
		if !slices.Contains(pins, to) {
			t.Errorf("%q continues to %s, which is not a key of the host", data, to)
		}
		if got := interrupted(data, others); !got.IsZero() {
			t.Errorf("%q continues to %s after other keys were restored", data, got)
		}
		written, err := json.Marshal(rotation{to})
		if err != nil {
			t.Fatal(err)
		}
		if got := interrupted(written, pins); got != to {
			t.Errorf("%q continues to %s, and what is written for it, %s, to %s", data, to, written, got)
		}
	})
}

// FuzzMappings: a part of memory that is dropped is a mapping of the file.
func FuzzMappings(f *testing.F) {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		f.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(smaps[:min(len(smaps), 8<<10)]))
	f.Add("400000-800000 r-xp 00000000 08:01 1 " + self + "\nAnonymous:             0 kB\nSwap:                  0 kB\n")
	f.Add("400000-800000 r--p 00000000 08:01 1 " + self + "\nAnonymous:             0 kB\nSwap:                  4 kB\n")
	f.Add("800000-400000 r-xp 0 0 0 " + self + "\nAnonymous: 0 kB\n")
	f.Add("ffffffffffffffffff-0 r-xp\n")
	f.Fuzz(func(t *testing.T, text string) {
		clean, err := cleanPages(strings.NewReader(text), self)
		if err != nil && len(text) < 64<<10 {
			t.Errorf("%q: %v", text, err)
		}
		for _, s := range clean {
			if s.size == 0 || s.first+s.size < s.first || !strings.Contains(text, self) {
				t.Errorf("%q has %+v", text, s)
			}
		}
	})
}
