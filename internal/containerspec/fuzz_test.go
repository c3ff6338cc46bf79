package containerspec

import (
	"fmt"
	"path"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzVolume: a volume that is taken is written so that it is read as the same, and
// the engine finds it at an absolute path.
func FuzzVolume(f *testing.F) {
	for _, s := range []string{"/data", "data:/data", "/srv/data:/data:ro", "/srv/data:/data:rw,z", "data:/data:nocopy", ":/data", "/a:/b:c:d", "./a:/b", "a:/", "/:/", "data:/a/../b", "a b:/c", "C:\\a:/b", "", "a:b", "/a:/b:ro,rw"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseVolume(text)
		if err != nil {
			if v != (Volume{}) {
				t.Errorf("%q gives %+v and the error %v", text, v, err)
			}
			return
		}
		if !path.IsAbs(v.Target) || path.Clean(v.Target) != v.Target || v.Target == "/" || v.IsBind != path.IsAbs(v.Source) || strings.ContainsFunc(v.String(), unicode.IsControl) {
			t.Errorf("%q is %+v", text, v)
		}
		if again, err := ParseVolume(v.String()); err != nil || again != v {
			t.Errorf("%q is %+v; written and read, it is %+v, %v", text, v, again, err)
		}
	})
}

// FuzzPorts: what Check takes is within the limit, with each port once, and a port
// that is refused has no mapping.
func FuzzPorts(f *testing.F) {
	for _, s := range []string{"8080:80", "127.0.0.1:8080:80", "[::1]:53:53/udp", "80", "1-65535:1-65535", "8000-8001:80-81\n8001:9", "0:80", ":80", "80/sctp\n80/tcp", "1:2:3:4", "99999", "80-70", "8000-9000:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list := strings.Split(text, "\n")
		total := 0
		for _, one := range list {
			ports, err := Port(one)
			if err != nil && len(ports) > 0 {
				t.Errorf("%q gives %v and the error %v", one, ports, err)
			}
			total += len(ports)
			for _, p := range ports {
				if n := p.Port.Int(); n < 1 || n > 65535 || p.Port.Proto() == "" {
					t.Errorf("%q is the port %v", one, p)
				}
			}
		}
		if problems := Check(contract.Container{Ports: list}); len(problems) == 0 && total > MaxPorts {
			t.Errorf("%d ports are taken", total)
		}
	})
}

// FuzzEnvFile: a variable of a file has a name, and a value of one line; as a file
// again it is the same.
func FuzzEnvFile(f *testing.F) {
	for _, s := range []string{"A=b\nTOKEN=x y\n", "# c\n\n  A=\n", "A", "=b", "A=b\nA=c\n", "A=\x00", "export A=b", "A=b\r\n", "\ufeffA=b", "A=\xff", "A=b=c\n", "A= b \n", "\u00a0A=b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		env, problems := ParseEnvFile(data)
		for _, p := range problems {
			if p.Line < 0 || p.Line > strings.Count(string(data), "\n")+1 || p.Message == "" {
				t.Errorf("%q: problem %+v", data, p)
			}
		}
		if len(problems) > 0 {
			return
		}
		text := ""
		for name, value := range env {
			if name == "" || strings.ContainsFunc(name, unicode.IsSpace) || strings.ContainsAny(name, "=\x00") || strings.ContainsAny(value, "\n\x00") || !utf8.ValidString(name+value) {
				t.Errorf("%q has %q with the value %q", data, name, value)
			}
			text += name + "=" + value + "\n"
		}
		again, problems := ParseEnvFile([]byte(text))
		if len(problems) > 0 || len(again) != len(env) {
			t.Fatalf("%q is written as %q, and read with %v", data, text, problems)
		}
		for name, value := range env {
			if again[name] != value {
				t.Errorf("%q has %q with the value %q; written and read, it is %q", data, name, value, again[name])
			}
		}
	})
}

// FuzzMemory: a size that is taken is at least the engine's minimum.
func FuzzMemory(f *testing.F) {
	for _, s := range []string{"512m", "2g", "6m", "5m", "-1", "1e3", "9223372036854775807", "16384p", "1.5g", "0x10m", "512 MB", "NaN", "inf", "9e18"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := Memory(text); err == nil && n < MinMemory || err != nil && n != 0 {
			t.Errorf("%q is %d bytes, %v", text, n, err)
		}
	})
}

func TestEnvFileTakesTimeThatGrowsWithItsLength(t *testing.T) {
	fuzztest.Long(t, "", func(text string) { ParseEnvFile([]byte(text)) })
}

// TestRangesOfPortsAreBounded guards against a list whose few lines are millions of
// ports: an image that is verified may have any.
func TestRangesOfPortsAreBounded(t *testing.T) {
	var c contract.Container
	for i := range contract.MaxContainerEntries {
		c.Ports = append(c.Ports, fmt.Sprintf("127.0.0.%d:1-65535:1-65535", i+1))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	problems := Check(c)
	runtime.ReadMemStats(&after)
	if len(problems) != 1 || !strings.Contains(problems[0].Message, "exceed the limit of 256") {
		t.Errorf("problems: %v", problems)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}
