package image

import (
	"slices"
	"strings"
	"testing"
)

// FuzzUnit: a unit's settings have no empty value, and a drop-in that is empty changes
// nothing.
func FuzzUnit(f *testing.F) {
	for _, s := range []string{
		"[Unit]\nDescription=a\nAfter=b.service \\\n c.service\n\n[Service]\nExecStart=/bin/a \\\n# comment\n --x\nExecStart=\nExecStart=-/bin/b\n\n[Install]\nWantedBy=multi-user.target\n",
		"[a", "a=b\n", "[a]\n=b\n", "[a]\nb\n", "[a] x\n", "[a]\r\nb=c\r\n", "[Unit]\nA=\\", ";\n#\n[\x00]\n\xff=\xff\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u := ParseUnit(text)
		for _, section := range []string{"Unit", "Service", "Install", "a"} {
			keys := u.Keys(section)
			if !slices.IsSorted(keys) {
				t.Errorf("keys %q", keys)
			}
			for _, key := range keys {
				values := u.All(section, key)
				if len(values) == 0 || slices.ContainsFunc(values, func(v string) bool { return strings.TrimSpace(v) == "" }) {
					t.Errorf("%q: [%s] %q has the values %q", text, section, key, values)
				}
			}
		}
	})
}

func FuzzPackages(f *testing.F) {
	for _, s := range []string{
		"Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nSource: b\n\nPackage: c\nStatus: deinstall ok config-files\n", "Package: a\nStatus: x installed\n", "\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, status string) {
		list, err := parsePackages(status)
		if (err == nil) != (len(list) > 0) || len(list) > strings.Count(status, "\n")+1 {
			t.Errorf("%q: %d packages, %v", status, len(list), err)
		}
		for _, p := range list {
			if p.Name == "" || strings.TrimSpace(p.Name) != p.Name {
				t.Errorf("%q has the package %+v", status, p)
			}
		}
	})
}
