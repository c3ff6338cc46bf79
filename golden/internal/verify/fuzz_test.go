package verify

import (
	"bytes"
	"os"
	"testing"
)

// FuzzELF reads the head of a program of an archive.
func FuzzELF(f *testing.F) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(self[:min(len(self), 4<<10)], 1000)
	f.Add([]byte("\x7fELF\x02\x01\x01"), 0)
	f.Add(append([]byte("\x7fELF\x01\x02\x01"), make([]byte, 60)...), 20)
	f.Add([]byte("#!/bin/sh\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		head := data[:min(max(cut, 0), len(data))]
		var tap dynamicTap
		tap.want(head)
		tap.at = int64(len(head))
		if n, err := tap.Write(data[len(head):]); n != len(data)-len(head) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		if len(tap.buf) > 64<<10 {
			t.Errorf("%d bytes are kept", len(tap.buf))
		}
		b := readELF("usr/bin/a", head, &tap)
		if len(b.Interp) > 4096 || b.Bad != "" && (b.Dynamic || len(b.Needed) > 0) {
			t.Errorf("%+v", b)
		}
	})
}

// FuzzSecrets: the line of what is found is one of the file.
func FuzzSecrets(f *testing.F) {
	for _, s := range []string{"a\n-----BEGIN PRIVATE KEY-----\nMIIE\n", "password=https://user:secret@host/\n", "AKIAAAAAAAAAAAAAAAAA", "vm kvm vm-1 vm\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found := append(scanSecrets("etc/a", data), scanNames("etc/a", data, []string{"vm", "", "build.example"})...)
		for _, s := range found {
			if s.Line < 1 || s.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Errorf("%q has %+v", data, s)
			}
		}
	})
}
