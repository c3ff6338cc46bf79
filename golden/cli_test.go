package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string // substring of stderr
	}{
		{"no command", nil, "felhom-golden: no command given\nfelhom-golden: hint: "},
		{"unknown command", []string{"zzz"}, `unknown command "zzz"`},
		{"near miss", []string{"vershon"}, `hint: did you mean "version"?`},
		{"help is no command", []string{"help"}, `unknown command "help"`},
		{"unknown root flag", []string{"--nope"}, "nope"},
		{"unknown flag", []string{"version", "--nope"}, "hint: felhom-golden version --help"},
		{"argument too many", []string{"version", "x"}, "version: want no arguments, found 1 argument(s)"},
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
	for _, args := range [][]string{{"version"}, {"--help"}, {"version", "--help"}, {"--version"}} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{program}, args...), nil, &stdout, &stderr)
		if code != 0 || stdout.Len() == 0 || stderr.Len() != 0 {
			t.Errorf("%v: code %d, stdout %q, stderr %q; want 0, something, nothing", args, code, stdout.String(), stderr.String())
		}
	}
}

func TestFlagsFirst(t *testing.T) {
	app := &cli.App{Commands: []*cli.Command{{
		Name:  "work",
		Flags: []cli.Flag{&cli.StringFlag{Name: "out", Aliases: []string{"o"}}, &cli.BoolFlag{Name: "force"}},
	}}}
	for _, tt := range []struct{ name, in, want string }{
		{"bare", "p", "p"},
		{"only root flags", "p --version", "p --version"},
		{"unknown command", "p other a --out b", "p other a --out b"},
		{"flags after", "p work ROOT --out x --force", "p work --out x --force ROOT"},
		{"alias", "p work ROOT -o x", "p work -o x ROOT"},
		{"equals", "p work ROOT --out=x y", "p work --out=x ROOT y"},
		{"bool takes no value", "p work --force ROOT", "p work --force ROOT"},
		{"double dash", "p work ROOT -- script --out z", "p work ROOT -- script --out z"},
		{"stdin dash", "p work - --force", "p work --force -"},
		{"value missing", "p work ROOT --out", "p work --out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := flagsFirst(app, strings.Fields(tt.in))
			if diff := cmp.Diff(strings.Fields(tt.want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
