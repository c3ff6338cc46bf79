//go:build integration

package guest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ansible keeps the two guests as a playbook with the role of contrib says.
func (o *own) ansible(t *testing.T) {
	o.play(t, "as they are", nil, "ok=5 changed=0 failed=0", "--check")
	foreseen := o.play(t, "a change that is foreseen", []string{"edge-0", "played"}, "ok=5 changed=1 failed=0", "--check")
	for i, outcome := range []string{"unchanged", "updated"} {
		if want := fmt.Sprintf("%d would be %s", o.vmid[i], outcome); !strings.Contains(foreseen, want) {
			t.Errorf("the check does not say %q:\n%s", want, foreseen)
		}
	}
	o.wantPage(t, 0, "edge-0", 2)
	o.wantPage(t, 1, "edge-1", 2)

	o.play(t, "one change", []string{"edge-0", "played"}, "ok=6 changed=1 failed=0")
	o.wantPage(t, 1, "played", 3)
	o.play(t, "the same again", []string{"edge-0", "played"}, "ok=6 changed=0 failed=0")
	o.wantPage(t, 0, "edge-0", 2)

	out := o.play(t, "a mistake", []string{"edge-0", "again", "bogus"}, "changed=0 failed=1", "--check")
	if !strings.Contains(out, "bogus") || !strings.Contains(out, "unknown key") {
		t.Errorf("the mistake is not named:\n%s", out)
	}
	if left, err := filepath.Glob(filepath.Join(o.dir, "tmp/*/felhom-guests.*")); err != nil || len(left) > 0 {
		t.Errorf("specifications were left behind: %v, %v", left, err)
	}
}

// play runs the role on this machine. modes are MODE of each guest, nil: as the
// guests have it; a third one is a key that no guest has.
func (o *own) play(t *testing.T, name string, modes []string, recap string, flags ...string) string {
	t.Helper()
	if modes == nil {
		modes = []string{"edge-0", "edge-1"}
	}
	guests := make([]map[string]any, 0, len(o.vmid))
	for i, vmid := range o.vmid {
		g := map[string]any{
			"vmid": vmid, "hostname": [2]string{"tested", "untested"}[i], "golden": o.archive, "ip": o.address(t, byte(221+i)).String(),
			"container": map[string]any{"environment": map[string]string{"MODE": modes[i]}},
		}
		if i == 0 {
			g["env_file"] = filepath.Join(o.dir, "secret.env")
		} else {
			g["image"] = o.image[i]
		}
		if len(modes) > len(o.vmid) {
			g[modes[2]] = true
		}
		guests = append(guests, g)
	}
	// A playbook is YAML, which JSON is too.
	book, err := json.Marshal([]any{map[string]any{
		"hosts": "localhost", "gather_facts": false, "roles": []string{"felhom_guests"},
		"vars": map[string]any{"felhom_guests": guests, "felhom_agentd": o.host.Command()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	roles, err := filepath.Abs("../../../contrib/ansible/roles")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.dir, "play.yml")
	if err := os.WriteFile(file, book, 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(o.dir, "ansible.cfg")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ansible-playbook", append([]string{"-i", "localhost,", "-c", "local", file}, flags...)...)
	// Its files are in the test's directory, and the machine's configuration is not read.
	cmd.Env = append(os.Environ(), "ANSIBLE_ROLES_PATH="+roles, "ANSIBLE_CONFIG="+config, "ANSIBLE_HOME="+filepath.Join(o.dir, "ansible"),
		"ANSIBLE_LOCAL_TEMP="+filepath.Join(o.dir, "tmp"), "ANSIBLE_REMOTE_TEMP="+filepath.Join(o.dir, "tmp"), "TMPDIR="+o.dir, "ANSIBLE_NOCOLOR=1", "ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3")
	out, err := cmd.CombinedOutput()
	fields := regexp.MustCompile(`ok=\d+|changed=\d+|failed=\d+`).FindAllString(string(out), -1)
	if got := strings.Join(fields, " "); !strings.HasSuffix(got, recap) || (err != nil) != strings.Contains(recap, "failed=1") {
		t.Fatalf("%s: %s, %v, want %s\n%s", name, got, err, recap, out)
	}
	return string(out)
}
