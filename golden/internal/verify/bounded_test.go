package verify_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/fault"
)

// TestUnitsThatGrowWhenTheyAreRead reads units, presets and variables of which few bytes
// stand for much work or memory. A rule reports each, or the archive is
// refused.
func TestUnitsThatGrowWhenTheyAreRead(t *testing.T) {
	const dir = "usr/lib/systemd/system/"
	enabled := func(s *sample, name string) {
		s.link("etc/systemd/system/multi-user.target.wants/"+name, "/"+dir+name)
	}
	for _, c := range []struct {
		name, rule, says string
		put              func(*sample)
	}{
		{"variables in a command", "guest-units", "more than", func(s *sample) {
			s.put(dir+"a.service", 0o644, "[Service]\nEnvironmentFile=/etc/default/a\nExecStart=/bin/a "+strings.Repeat("$A \\\n", 3000)+"\n[Install]\nWantedBy=multi-user.target\n")
			s.put("etc/default/a", 0o644, "A="+strings.Repeat("b ", 3000)+"\n")
			enabled(s, "a.service")
		}},
		{"files of variables", "guest-units", "more than", func(s *sample) {
			s.put(dir+"a.service", 0o644, "[Service]\n"+strings.Repeat("EnvironmentFile=/etc/default/a\n", 200)+"ExecStart=/bin/a\n[Install]\nWantedBy=multi-user.target\n")
			s.put("etc/default/a", 0o644, strings.Repeat("A=b\n", 4_000))
			enabled(s, "a.service")
		}},
		{"instances that want instances", "", "exceed", func(s *sample) {
			var names strings.Builder
			for i := range 300 {
				fmt.Fprintf(&names, "Wants=a@%d.service\n", i)
			}
			s.put(dir+"a@.service", 0o644, "#"+strings.Repeat(" comment", 16_000)+"\n[Unit]\n"+names.String()+"[Service]\nExecStart=/bin/a\n[Install]\nWantedBy=multi-user.target\nDefaultInstance=1\n")
			s.link("etc/systemd/system/multi-user.target.wants/a@1.service", "/"+dir+"a@.service")
		}},
		{"more units than boot can start", "guest-units", "more than", func(s *sample) {
			var names strings.Builder
			for i := range 5_500 {
				fmt.Fprintf(&names, "Wants=a%d.x\n", i)
			}
			s.put(dir+"a.service", 0o644, "[Unit]\n"+names.String()+"[Service]\nExecStart=/bin/a\n[Install]\nWantedBy=multi-user.target\n")
			enabled(s, "a.service")
		}},
		{"presets", "preset-closure", "more than", func(s *sample) {
			s.put("etc/systemd/system-preset/50-a.preset", 0o644, strings.Repeat("enable a\n", 5_000))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := good()
			c.put(s)
			archive := s.bytes(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			report, err := verify.Archive(t.Context(), bytes.NewReader(archive), s.name, verify.Options{})
			runtime.ReadMemStats(&after)
			if c.rule == "" {
				if fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" || !strings.Contains(err.Error(), c.says) {
					t.Errorf("want it refused with a hint and %q, got %v", c.says, err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			took := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%d MiB were allocated", took)
			if took > 300 {
				t.Errorf("%d MiB were allocated for an archive of %d KiB", took, len(archive)>>10)
			}
			if c.rule != "" && c.says != "" && !slices.ContainsFunc(report.Findings, func(f verify.Finding) bool {
				return f.Rule == c.rule && strings.Contains(f.Message, c.says)
			}) {
				t.Errorf("want a finding of %s with %q, got %+v", c.rule, c.says, report.Findings)
			}
		})
	}
}
