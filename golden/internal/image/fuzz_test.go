package image

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
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

// FuzzPreset: the first line of a preset file whose pattern matches decides on a unit, and
// a line that is read is written so that it is read as the same.
func FuzzPreset(f *testing.F) {
	for _, s := range []string{"enable a.service\ndisable *\n", " disable\ta@.service 1 2\n#enable *\n;\n", "enable *[\ndisable [!a]*\nenable a\\\n", "enable\nEnable a\nignore a\n", "\x00\xff\n", "enable " + strings.Repeat("*a", 50)} {
		f.Add(s, "a.service")
	}
	f.Fuzz(func(t *testing.T, text, unit string) {
		var all []Preset
		for line := range strings.Lines(text) {
			p, ok := parsePreset(line, "a.preset")
			if !ok {
				if p != (Preset{}) {
					t.Errorf("%q is refused, and is %+v", line, p)
				}
				continue
			}
			word := "disable "
			if p.Enable {
				word = "enable "
			}
			if again, ok := parsePreset(word+p.Pattern+"\n", "a.preset"); !ok || again != p {
				t.Errorf("%q is %+v, which is written and read as %+v", line, p, again)
			}
			all = append(all, p)
		}
		got := PresetFor(all, unit)
		i := slices.Index(all, got)
		if i < 0 && !got.Enable {
			t.Errorf("%q: %q is disabled by none of its lines", text, unit)
		}
		for _, p := range all[:max(i, 0)] {
			if p.Pattern == "*" || p.Pattern == unit && !strings.ContainsAny(unit, `*?[\`) {
				t.Errorf("%q: %+v decides on %q, and %+v is before it", text, got, unit, p)
			}
		}
	})
}

// FuzzOSRelease: what is read of os-release is written so that it is read as the same, and a
// comment has no value.
func FuzzOSRelease(f *testing.F) {
	for _, s := range []string{"ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME='Debian GNU/Linux 13'\n#ID=x\n", "=\n=x\n", "A==\n A = b \n", "A=\"b\n", "A='\"b\"'", "ID=a\r\nID=b\x00\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values := parseOSRelease(text)
		var written strings.Builder
		for key, value := range values {
			if key == "" || strings.HasPrefix(key, "#") || !strings.Contains(text, key+"=") || !strings.Contains(text, value) {
				t.Errorf("%q has %q=%q", text, key, value)
			}
			written.WriteString(key + "=\"" + value + "\"\n")
		}
		if again := parseOSRelease(written.String()); !maps.Equal(again, values) {
			t.Errorf("%q is written and read as %q", values, again)
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

func TestCommandsTakeTimeThatGrowsWithTheirLength(t *testing.T) {
	const head = "[Service]\nEnvironment=B=b\nEnvironmentFile=/a\nExecStart=/bin/a "
	parse := func(text string) {
		spaces := "C=\"" + strings.Repeat(" ", len(text)) + "\"\n"
		_, _ = ParseUnit(text).Commands(func(string) string { return spaces }, "ExecStart") // an error is an end as well
	}
	fuzztest.Long(t, head, parse, "$C \\\n", "${B}\\\n", "'' \\\n", "\nExecStart=/bin/a $B\n", "\nEnvironmentFile=/a\n", "\nEnvironment=A=$A\n")
	fuzztest.Long(t, head+"'", parse, "${\\\n", "$\\\n", "${B}\\\n", "$$\"\\\n")
}
