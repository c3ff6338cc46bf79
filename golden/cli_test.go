package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string // substring of stderr
	}{
		{"no command", nil, "felhom-golden: no command given\nfelhom-golden: hint: "},
		{"unknown command", []string{"zzz"}, `unknown command "zzz"`},
		{"near miss", []string{"vershon"}, `hint: did you mean "felhom-golden version"?`},
		{"unknown root flag", []string{"--nope"}, "nope"},
		{"unknown flag", []string{"version", "--nope"}, "hint: see felhom-golden version --help"},
		{"argument too many", []string{"version", "x"}, `unexpected argument "x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{program}, tt.args...), nil, &stdout, &stderr)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if stdout.Len() != 0 {
				t.Errorf("stdout %q, want nothing", stdout.String())
			}
			if !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("stderr %q, want it to contain %q", stderr.String(), tt.want)
			}
		})
	}
}

func TestRunPrintsProduct(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--help"}, {"version", "--help"}, {"help", "verify"}, {"--version"}} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{program}, args...), nil, &stdout, &stderr)
		if code != 0 || stdout.Len() == 0 || stderr.Len() != 0 {
			t.Errorf("%v: code %d, stdout %q, stderr %q; want 0, something, nothing", args, code, stdout.String(), stderr.String())
		}
	}
}
