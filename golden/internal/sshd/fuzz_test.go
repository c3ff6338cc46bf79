package sshd

import (
	"path/filepath"
	"testing"
)

func FuzzInRoot(f *testing.F) {
	for _, s := range []string{"", "/", "..", "../../etc/passwd", "a/../../b", "//a//b/", "\x00", "./.", "~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got := inRoot(name); !filepath.IsLocal(got) || inRoot(got) != got {
			t.Errorf("%q is %q, and that is %q", name, got, inRoot(got))
		}
		isSFTP(name)
	})
}
