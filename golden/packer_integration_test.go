//go:build integration

package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/freeport"
	"github.com/felhom/felhom-golden/internal/soak"
)

// sshRecipe is for Ansible: Debian 12's plays on Debian 12. It takes one
// suite from a source of its own, with its key.
const sshRecipe = bakeRecipe + `suite: bookworm
packages: {include: [python3]}
`

const playbook = `- hosts: all
  tasks:
    - ansible.builtin.copy:
        content: "{{ ansible_distribution_release }} it's \"$HOME\"\n"
        dest: /etc/played
        mode: "0640"
    - ansible.builtin.command: sh -c 'echo "$0 $1"; exit 3' one "two words"
      register: said
      failed_when: said.rc != 3 or said.stdout != "one two words"
`

// secondSource is this machine's archive once more, with a suite that the
// recipe does not take otherwise.
func secondSource(t *testing.T) string {
	t.Helper()
	list, err := apt.Machine(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	main, _, ok := apt.Debian(list, "bookworm")
	if !ok {
		t.Fatal("this machine has no source of Debian")
	}
	return "{name: second, uri: '" + main.URI + "', suites: [bookworm-updates], components: [main], key: /usr/share/keyrings/debian-archive-keyring.gpg}"
}

// TestPacker runs Packer on both recipes as they are.
func TestPacker(t *testing.T) {
	if err := testbed.Require(t.Context(), os.Stderr, "packer", "ansible-playbook"); err != nil {
		t.Fatal(err)
	}
	golden, bootstrap, _ := bakePrograms(t)
	dir := t.TempDir()
	recipes := map[string]string{"golden": filepath.Join(dir, "golden.yaml"), "golden-ssh": filepath.Join(dir, "golden-ssh.yaml")}
	failing, play := filepath.Join(dir, "fails.sh"), filepath.Join(dir, "site.yml")
	for name, text := range map[string]string{
		recipes["golden"]: bakeRecipe, failing: "#!/bin/sh\necho last words\nexit 7\n", play: playbook,
		recipes["golden-ssh"]: strings.Replace(sshRecipe, "{security: false}", "{security: false, sources: ["+secondSource(t)+"]}", 1),
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir(), "CHECKPOINT_DISABLE=1", "PACKER_CACHE_DIR="+t.TempDir(), "PACKER_CONFIG_DIR="+t.TempDir())
	for _, name := range []string{"golden", "golden-ssh"} {
		t.Run(name, func(t *testing.T) {
			directory := filepath.Join("..", "packer", name)
			work, output := filepath.Join(t.TempDir(), "work"), filepath.Join(t.TempDir(), "output")
			vars := []string{
				"-var", "felhom_golden=" + golden, "-var", "bootstrap=" + bootstrap, "-var", "recipe=" + recipes[name],
				"-var", "work_dir=" + work, "-var", "output_dir=" + output, "-var", `script_env=["SITE=Example's \"$1\" Street"]`,
			}
			if name == "golden-ssh" {
				_, port, err := net.SplitHostPort(freeport.Address(t, "127.0.0.1"))
				if err != nil {
					t.Fatal(err)
				}
				vars = append(vars, "-var", "port="+port)
			}
			packer := func(args ...string) (string, error) {
				cmd := exec.Command("packer", append(args, directory)...)
				cmd.Env = env
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			if out, err := packer("fmt", "-check", "-diff"); err != nil {
				t.Errorf("fmt: %v\n%s", err, out)
			}
			if out, err := packer(append([]string{"validate"}, vars...)...); err != nil {
				t.Fatalf("validate: %v\n%s", err, out)
			}

			first := []string{"build", "-color=false"}
			if name == "golden-ssh" {
				first = append(first, "-var", `playbooks=["`+play+`"]`)
			}
			out, err := packer(append(first, vars...)...)
			if err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			archives, err := filepath.Glob(filepath.Join(output, "vzdump-lxc-9100-*.tar.zst"))
			if err != nil || len(archives) != 1 {
				t.Fatalf("want one archive, got %v %v\n%s", archives, err, out)
			}
			if out, err := exec.Command(golden, "verify", archives[0]).CombinedOutput(); err != nil {
				t.Errorf("verify: %v\n%s", err, out)
			}
			contents := map[string]string{"etc/motd": "A felhom guest. Site: Example's \"$1\" Street\n"}
			if name == "golden-ssh" {
				contents["etc/played"] = "bookworm it's \"$HOME\"\n"
				contents["etc/apt/sources.list.d/second.sources"] = "Signed-By: /etc/apt/keyrings/second.gpg\n"
				contents["etc/apt/keyrings/second.gpg"] = ""
				contents["etc/debian_version"] = "12."
			}
			for member, want := range contents {
				content, err := exec.Command("tar", "--zstd", "-xOf", archives[0], "./"+member).Output()
				if err != nil || !strings.Contains(string(content), want) {
					t.Errorf("%s: want %q, got %q %v", member, want, content, err)
				}
			}
			check := exec.Command("sha256sum", "--check", filepath.Base(archives[0])+".sha256sum")
			check.Dir = output
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("checksum: %v\n%s", err, out)
			}
			checkGone(t, work)

			if err := os.RemoveAll(output); err != nil {
				t.Fatal(err)
			}
			out, err = packer(append([]string{"build", "-color=false", "-var", `scripts=["` + failing + `"]`}, vars...)...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "last words") || !strings.Contains(out, "exit status: 7") {
				t.Errorf("a script that exits 7: want status 1 and its words, got %v\n%s", err, out)
			}
			if entries, err := os.ReadDir(output); err != nil || len(entries) > 0 {
				t.Errorf("want no archive, got %v %v", entries, err)
			}
			checkNoMount(t, work)
		})
	}
}

func checkGone(t *testing.T, dir string) {
	t.Helper()
	checkNoMount(t, dir)
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: want it gone, got %v", dir, err)
	}
}

// checkNoMount waits until no mount in dir and no process of it is left, whatever files it has. The server of a root
// notices the end of Packer some time after it.
func checkNoMount(t *testing.T, dir string) {
	t.Helper()
	soak.AwaitNothing(t, "after the build", dir, dir)
}
