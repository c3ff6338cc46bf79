package command_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// completions are lines, with the cursor at their end, and what is offered.
var completions = []struct {
	line string
	want []string // all that is offered
}{
	{"felhom-agentd gu", []string{"guest"}},
	{"felhom-agentd guest re", []string{"remove", "revoke"}},
	{"felhom-agentd guest remove --f", []string{"--force"}},
	{"felhom-agentd --config my.yaml guest remove --j", []string{"--json"}},
	{"felhom-agentd guest remove ", []string{"8200", "8201"}},
	{"felhom-agentd guest remove 8201 ", nil},
	{"felhom-agentd guest rotate 8200 8", []string{"8200", "8201"}},
	{"felhom-agentd --config other guest show ", []string{"7"}},
	{"felhom-agentd provision --vm", []string{"--vmid"}},
	{"felhom-agentd provision --vmid ", []string{"8200", "8201"}},
	{"felhom-agentd provision --vmid=", []string{"8200", "8201"}},
	{"felhom-agentd provision --golden vz", []string{"vzdump-lxc-9100-2026_11_24-02_12_15.tar.zst"}},
	{"felhom-agentd provision --golden=vz", []string{"vzdump-lxc-9100-2026_11_24-02_12_15.tar.zst"}},
	{"felhom-agentd provision --hostname ", nil},
	{"felhom-agentd registry ", []string{"check"}},
	{"felhom-golden verify vz", []string{"vzdump-lxc-9100-2026_11_24-02_12_15.tar.zst"}},
	{"felhom-golden diff vzdump-lxc-9100-2026_11_24-02_12_15.tar.zst vz", []string{"vzdump-lxc-9100-2026_11_24-02_12_15.tar.zst"}},
	{"felhom-golden build --recipe gol", []string{"golden.yaml"}},
	{"felhom-controller-bootstrap st", []string{"status"}},
	{"felhom-controller-bootstrap --root / validate boot", []string{"bootstrap.json"}},
}

// asWord gives a part of a line in the form that a shell offers it: an option's
// value with the option before it.
func asWord(offered string) string {
	offered = strings.TrimRight(offered, " ")
	if _, value, ok := strings.Cut(offered, "="); ok && strings.HasPrefix(offered, "--") {
		return value
	}
	return offered
}

// shellDirectory returns a directory with files to offer, and a felhom-agentd that knows guests.
func shellDirectory(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	home := t.TempDir() // shells write into it
	// The shape of the real one's JSON is checked by TestListIsCompleted of agentd.
	agentd := `#!/bin/sh
case "$*" in
"guest list --json" | "--config my.yaml guest list --json") printf '[\n  {\n    "guest": 8200,\n    "name": "web"\n  },\n  {\n    "guest": 8201\n  }\n]\n' ;;
"--config other guest list --json") echo '[{"guest":7,"x":1}]' ;;
*) echo "unexpected: $*" >&2; exit 2 ;;
esac
`
	for name, text := range map[string]string{
		"bin/felhom-agentd": agentd, "bin/felhom-golden": "#!/bin/sh\n", "bin/felhom-controller-bootstrap": "#!/bin/sh\n",
		"vzdump-lxc-9100-2026_11_24-02_12_15.tar.zst": "", "vzdump-notes.txt": "", "golden.yaml": "", "bootstrap.json": "",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir, append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "TERM=dumb")
}

// offers runs a shell and returns the lines of its stdout, sorted.
func offers(t *testing.T, dir string, env []string, argv ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v\n%s%s", argv[0], err, out, stderr.String())
	}
	var list []string
	for line := range strings.SplitSeq(string(out), "\n") {
		if line != "" {
			list = append(list, asWord(line))
		}
	}
	slices.Sort(list)
	return list
}

func scripts(t *testing.T, shell string) string {
	t.Helper()
	dir, err := filepath.Abs("../../contrib/completions/" + shell)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestBash has bash itself split the line and call the function.
func TestBash(t *testing.T) {
	dir, env := shellDirectory(t)
	for _, tt := range completions {
		// bash breaks words at = as well.
		words := strings.Fields(strings.ReplaceAll(tt.line, "=", " = "))
		if strings.HasSuffix(tt.line, " ") {
			words = append(words, "")
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, fmt.Sprintf("'%s'", w))
		}
		program := words[0]
		script := fmt.Sprintf(`source %q/%s && COMP_WORDS=(%s) COMP_CWORD=%d && set -- $(complete -p %s) && { "${@: -2:1}" || true; } && printf '%%s\n' "${COMPREPLY[@]}"`,
			scripts(t, "bash"), program, strings.Join(quoted, " "), len(words)-1, program)
		if got := offers(t, dir, env, "bash", "--norc", "-c", script); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.line, got, tt.want)
		}
	}
}
