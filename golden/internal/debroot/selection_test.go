package debroot

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/fault"
)

const sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

const simulated = `Reading package lists...
The following additional packages will be installed:
  libb
  libc1
The following NEW packages will be installed:
  a libb libc1 tool
0 upgraded, 4 newly installed, 0 to remove and 0 not upgraded.
Inst libc1 (1:2.0-1 Debian:13.1/stable [amd64])
Conf libc1 (1:2.0-1 Debian:13.1/stable [amd64])
Inst libb (1.0 Debian:13.1/stable [amd64]) [a:amd64 ]
Inst a (3.0~rc1 Debian:13.1/stable, Debian-Security:13/stable-security [amd64])
Inst tool (1 Debian:13.1/stable [all])
Conf libb (1.0 Debian:13.1/stable [amd64])
Conf a (3.0~rc1 Debian:13.1/stable [amd64])
Conf tool (1 Debian:13.1/stable [all])
`

const printed = `Reading package lists...
'http://m/pool/libc1_2.0-1_amd64.deb' libc1_1%3a2.0-1_amd64.deb 10 SHA256:` + sum + `
'http://m/pool/libb_1.0_amd64.deb' libb_1.0_amd64.deb 10 SHA256:` + sum + `
'file:/srv/m/a_3.0~rc1_amd64.deb' a_3.0~rc1_amd64.deb 10 SHA512:` + sum + sum + `
'http://m/pool/tool_1_all.deb' tool_1_all.deb 10 SHA256:` + sum + `
`

func TestParseSelection(t *testing.T) {
	got, err := parseSelection(simulated, printed)
	if err != nil {
		t.Fatal(err)
	}
	want := selection{
		Packages: []pkg{
			{"libc1", "1:2.0-1", "libc1_1%3a2.0-1_amd64.deb", "SHA256", sum},
			{"libb", "1.0", "libb_1.0_amd64.deb", "SHA256", sum},
			{"a", "3.0~rc1", "a_3.0~rc1_amd64.deb", "SHA512", sum + sum},
			{"tool", "1", "tool_1_all.deb", "SHA256", sum},
		},
		Steps: []step{
			{unpack, []string{"libc1"}},
			{configure, []string{"libc1"}},
			{unpack, []string{"libb", "a", "tool"}},
			{configure, []string{"libb", "a", "tool"}},
		},
		Auto: []string{"libb", "libc1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	newer := strings.Replace(simulated, "The following additional packages will be installed:", "Installing dependencies:", 1)
	if got, err := parseSelection(newer, printed); err != nil || !cmp.Equal(got.Auto, want.Auto) {
		t.Errorf("apt 3's own words: got %v, %v", got.Auto, err)
	}
}

// What the essential packages have brought along can be replaced: by a newer version, such as that of a security archive, or by
// another package. The words are apt 2.6's.
func TestParseSelectionReplaces(t *testing.T) {
	plan := strings.Replace(simulated, "Inst tool (1 ", "Remv mawk [1.3.4] [base-files:amd64 ]\nRemv other [1]\nInst tool [0.9] (1 ", 1)
	got, err := parseSelection(plan, printed)
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{unpack, []string{"libc1"}},
		{configure, []string{"libc1"}},
		{unpack, []string{"libb", "a"}},
		{remove, []string{"mawk", "other"}},
		{unpack, []string{"tool"}},
		{configure, []string{"libb", "a", "tool"}},
	}
	if diff := cmp.Diff(want, got.Steps); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What cannot be installed this way, or has no digest that counts, is refused and names the way out.
func TestParseSelectionRefuses(t *testing.T) {
	for _, c := range []struct {
		name       string
		plan, uris [2]string // a text to replace and what by
		want       fault.Kind
	}{
		{"an unknown step", [2]string{"Conf tool (1 Debian:13.1/stable [all])", "Purg tool [1]"}, [2]string{}, fault.Invalid},
		{"a step that is cut", [2]string{"Conf tool (1 Debian:13.1/stable [all])", "Conf tool"}, [2]string{}, fault.Invalid},
		{"foreign architecture", [2]string{"Inst tool (", "Inst tool:i386 ("}, [2]string{}, fault.Invalid},
		{"MD5", [2]string{}, [2]string{"SHA256:" + sum + "\n'http://m/pool/libb", "MD5Sum:0123456789abcdef0123456789abcdef\n'http://m/pool/libb"}, fault.Mismatch},
		{"no digest", [2]string{}, [2]string{" tool_1_all.deb 10 SHA256:" + sum, " tool_1_all.deb 10 "}, fault.Mismatch},
		{"a name that leads out", [2]string{}, [2]string{" tool_1_all.deb 10", " ../tool_1_all.deb 10"}, fault.Mismatch},
		{"no file", [2]string{"Inst tool", "Inst other"}, [2]string{}, fault.Invalid},
	} {
		plan, uris := simulated, printed
		if c.plan[0] != "" {
			plan = strings.Replace(plan, c.plan[0], c.plan[1], 1)
		}
		if c.uris[0] != "" {
			uris = strings.Replace(uris, c.uris[0], c.uris[1], 1)
		}
		if plan == simulated && uris == printed {
			t.Fatalf("%s: the case changes nothing", c.name)
		}
		_, err := parseSelection(plan, uris)
		if fault.Of(err) != c.want || !strings.Contains(fault.HintOf(err), "--engine mmdebstrap") {
			t.Errorf("%s: want %v with the way out, got %v (hint %q)", c.name, c.want, err, fault.HintOf(err))
		}
	}
}
