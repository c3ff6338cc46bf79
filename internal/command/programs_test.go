package command_test

import (
	"bytes"
	"errors"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/felhom/felhom-golden/internal/leaktest"
)

// programs are the three, with a command of each that takes one argument, and
// the name of that argument.
var programs = []struct {
	name, dir     string
	command       []string
	argument      string
	near, nearest string // a mistyped command, and the one that is meant
}{
	{"felhom-agentd", "../../agentd", []string{"guest", "remove"}, "VMID", "gest", "guest"},
	{"felhom-golden", "../../golden", []string{"inspect"}, "ARCHIVE", "inspct", "inspect"},
	{"felhom-controller-bootstrap", "../../bootstrapper", []string{"validate"}, "", "valdate", "validate"},
}

// bin is where TestMain has built the programs.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "felhom-command-"); err != nil {
			log.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(bin) }()
		for _, p := range programs {
			if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, p.name), p.dir).CombinedOutput(); err != nil {
				log.Printf("go build %s: %v\n%s", p.dir, err, out)
				return 1
			}
		}
		return leaktest.Run(m)
	}())
}

func run(t *testing.T, program string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, program), args...)
	cmd.Dir = t.TempDir()
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	if exited := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), diag.String()
}

// The same mistake has the same words and the same exit code in each program.
func TestMistakesAreRefusedAlike(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			full := strings.Join(append([]string{p.name}, p.command...), " ")
			with := func(words ...string) []string { return append(append([]string{}, p.command...), words...) }
			rows := []struct {
				name    string
				args    []string
				message string
				hint    string
			}{
				{"no command", nil, "no command given", p.name + " --help lists the commands"},
				{"unknown command", []string{"zzzzzzz"}, `unknown command "zzzzzzz"`, p.name + " --help lists the commands"},
				{"help of an unknown command", []string{"zzzzzzz", "--help"}, `unknown command "zzzzzzz"`, p.name + " --help lists the commands"},
				{"help before an unknown command", []string{"help", "zzzzzzz"}, `unknown command "zzzzzzz"`, p.name + " --help lists the commands"},
				{"mistyped command", []string{p.near}, `unknown command "` + p.near + `"`, `did you mean "` + p.name + " " + p.nearest + `"?`},
				{"unknown option", with("--zzzzzzz"), "unknown option --zzzzzzz", "see " + full + " --help"},
				{"mistyped global option", []string{"--versio"}, "unknown option --versio", "did you mean --version?"},
				{"first of two wrong options", with("--zzzzzzz", "--yyyyyyy"), "unknown option --zzzzzzz", "see " + full + " --help"},
				{"surplus argument", with("a", "b"), `unexpected argument "b"`, "see " + full + " --help"},
				{"surplus argument of version", []string{"version", "x"}, `unexpected argument "x"`, "see " + p.name + " version --help"},
			}
			if p.argument != "" {
				rows = append(rows, struct {
					name    string
					args    []string
					message string
					hint    string
				}{"missing argument", with(), "missing argument " + p.argument, "see " + full + " --help"})
			}
			for _, row := range rows {
				code, stdout, stderr := run(t, p.name, row.args...)
				want := p.name + ": " + row.message + "\n" + p.name + ": hint: " + row.hint + "\n"
				if code != 2 || stdout != "" || stderr != want {
					t.Errorf("%s: exit code %d, stdout %q, stderr\n%swant 2, nothing,\n%s", row.name, code, stdout, stderr, want)
				}
			}
		})
	}
}

// A file that is named and does not exist is refused input everywhere.
func TestMissingFile(t *testing.T) {
	for _, row := range []struct {
		program string
		args    []string
	}{
		{"felhom-agentd", []string{"pin", "--config", "missing"}},
		{"felhom-golden", []string{"inspect", "missing"}},
		{"felhom-golden", []string{"verify", "missing"}},
		{"felhom-controller-bootstrap", []string{"validate", "missing"}},
	} {
		code, stdout, stderr := run(t, row.program, row.args...)
		if code != 3 || stdout != "" || !strings.Contains(stderr, " missing: ") || !strings.Contains(stderr, "no such file") || !strings.Contains(stderr, ": hint: ") {
			t.Errorf("%v: exit code %d, stdout %q, stderr\n%swant 3, nothing, the file and a hint", row.args, code, stdout, stderr)
		}
	}
}

// Help of each command is an answer, and fits a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			todo := [][]string{nil}
			for len(todo) > 0 {
				path := todo[0]
				todo = todo[1:]
				code, help, stderr := run(t, p.name, append(path, "--help")...)
				if code != 0 || stderr != "" || !strings.HasPrefix(help, strings.Join(append([]string{p.name}, path...), " ")+" - ") {
					t.Fatalf("%v --help: exit code %d, stderr %q, help\n%s", path, code, stderr, help)
				}
				if _, other, _ := run(t, p.name, append([]string{"help"}, path...)...); other != help {
					t.Errorf("help %v differs from %v --help", path, path)
				}
				if strings.Contains(help, "default: false") || strings.Contains(help, "default: )") {
					t.Errorf("%v --help names a default that says nothing:\n%s", path, help)
				}
				listing := false
				for line := range strings.SplitSeq(help, "\n") {
					if n := utf8.RuneCountInString(line); n > 80 {
						t.Errorf("%v --help: a line of %d columns: %s", path, n, line)
					}
					switch fields := strings.Fields(line); {
					case line == "Commands:":
						listing = true
					case line == "":
						listing = false
					case listing && strings.HasPrefix(line, "  ") && line[2] != ' ':
						todo = append(todo, append(append([]string{}, path...), fields[0]))
					}
				}
			}
		})
	}
}
