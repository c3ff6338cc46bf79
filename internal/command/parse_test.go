package command

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

func testTree() ([]cli.Flag, *cli.Command) {
	work := &cli.Command{
		Name: "work", ArgsUsage: "ROOT [-- COMMAND [ARG...]]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}}, &cli.BoolFlag{Name: "force"},
			&cli.DurationFlag{Name: "wait"}, &cli.IntFlag{Name: "port"},
		},
	}
	guest := &cli.Command{Name: "guest", Subcommands: []*cli.Command{{Name: "remove", ArgsUsage: "VMID"}, {Name: "list"}}}
	root := &cli.Command{Name: "p", Subcommands: []*cli.Command{work, guest}}
	return []cli.Flag{&cli.StringFlag{Name: "config"}}, root
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, in, want, fails string }{
		{name: "flags after arguments", in: "work ROOT --out x --force", want: "p work --out=x --force=true -- ROOT"},
		{name: "alias", in: "work -o x ROOT", want: "p work --o=x -- ROOT"},
		{name: "equals", in: "work ROOT --out=x=y", want: "p work --out=x=y -- ROOT"},
		{name: "a global flag after the command", in: "guest remove 8200 --config f", want: "p --config=f guest remove -- 8200"},
		{name: "a global flag before the command", in: "--config f guest list", want: "p --config=f guest list --"},
		{name: "double dash", in: "work ROOT -- script --out z -- --", want: "p work -- ROOT script --out z -- --"},
		{name: "a dash is an argument", in: "work - --force", want: "p work --force=true -- -"},
		{name: "bool with a value", in: "work --force=false ROOT", want: "p work --force=false -- ROOT"},
		{name: "value missing", in: "work ROOT --out", fails: "option --out needs a value"},
		{name: "value is a flag", in: "work ROOT --out --force", fails: "option --out needs a value"},
		{name: "no duration", in: "work --wait soon ROOT", fails: `option --wait: "soon" is not a valid duration such as 90s or 5m`},
		{name: "no number", in: "work --port 0x10 ROOT", fails: `option --port: "0x10" is not a whole number`},
		{name: "no bool", in: "work --force=maybe ROOT", fails: `option --force: "maybe" is not true or false`},
		{name: "synonym", in: "guest rm 8200", fails: `unknown command "rm"`},
		{name: "argument of a group", in: "guest 8200 remove", fails: `unknown command "8200"`},
		{name: "group alone", in: "guest", fails: "no command given"},
		{name: "missing argument", in: "work --force", fails: "missing argument ROOT"},
		{name: "the first mistake", in: "work --nope --wait soon", fails: "unknown option --nope"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			global, root := testTree()
			l, err := parse(global, root, strings.Fields(tt.in))
			if tt.fails != "" {
				if err == nil || err.Error() != tt.fails {
					t.Fatalf("error %v, want %s", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Fields(tt.want), l.words("p")); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHelpWins(t *testing.T) {
	for _, in := range []string{"help guest remove", "guest remove --help", "guest remove -h --nope", "--help guest remove"} {
		global, root := testTree()
		l, _ := parse(global, root, strings.Fields(in))
		if !l.help || pathName(l.path) != "p guest remove" {
			t.Errorf("%s: help %t of %q, want help of p guest remove", in, l.help, pathName(l.path))
		}
	}
}
