package debroot

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzSelection: what apt says becomes words of a script and parts of a path, if plain
// lets it.
func FuzzSelection(f *testing.F) {
	f.Add(simulated, printed)
	f.Add("Inst a (1 x)\nConf a (1 x)\n", "'http://m/a' a_1_all.deb 10 SHA256:"+sum+"\n")
	f.Add("Inst a [1] (2 x)\n", "")
	f.Add("Inst ../a (1 x)\n", "'http://m/a' ../a_1_all.deb 10 SHA256:"+sum+"\n")
	f.Fuzz(func(t *testing.T, plan, uris string) {
		s, err := parseSelection(plan, uris)
		if err != nil || !s.plain() {
			return
		}
		for _, p := range s.Packages {
			if !filepath.IsLocal(p.name()) || filepath.Base(p.name()) != p.name() || !filepath.IsLocal(p.File) || filepath.Base(p.File) != p.File || strings.ContainsAny(p.Name, " \t\n'\"$`;&|<>/") {
				t.Errorf("package %+v", p)
			}
		}
	})
}

// FuzzMember reads a package file of the store, which may be damaged.
func FuzzMember(f *testing.F) {
	file := filepath.Join(f.TempDir(), "a.deb")
	good := arMagic + memberHeader("debian-binary", 4) + "2.0\n" + memberHeader(controlName, 3) + "abc\n"
	for _, s := range []string{good, good[:70], arMagic, strings.Replace(good, "4   ", "-1  ", 1), strings.Replace(good, "3  ", "9999999999", 1)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := control(file); err == nil && !strings.Contains(string(data), controlName) {
			t.Errorf("%q has a control file", data)
		}
		opened, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = opened.Close() }()
		m, err := member(opened, controlName)
		if err != nil {
			return
		}
		if content, err := io.ReadAll(m); err != nil || len(content) > len(data) {
			t.Errorf("%d bytes of %d, %v", len(content), len(data), err)
		}
	})
}
