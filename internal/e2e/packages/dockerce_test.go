//go:build packages

package packages_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dockerName is where Docker's packages are.
const dockerName = "download.docker.com"

// site is the directory of the machine that answers to dockerName.
const site = "srv/www"

// dockerExample follows examples/docker-ce, on liblxc. Docker's archive is a stand-in: its packages are Debian's, with Docker's names.
func (m machine) dockerExample(t *testing.T) {
	t.Helper()
	script, err := os.ReadFile("testdata/docker-archive.sh")
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, "root/docker-archive.sh", string(script))
	m.do(t, "sh", "/root/docker-archive.sh")
	const example = "../../../examples/docker-ce"
	files, err := os.ReadDir(example)
	if err != nil {
		t.Fatal(err)
	}
	commands := ""
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(example, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, filepath.Join("root/release", f.Name()), string(data))
		if f.Name() == "README.md" {
			for _, p := range parts(string(data)) {
				commands += strings.Join(p.blocks, "")
			}
		}
	}
	build, guests, ok := strings.Cut(commands, "felhom-agentd check")
	if !ok || !strings.Contains(build, "https://"+dockerName) || !strings.Contains(build, "felhom-golden build --recipe golden.yaml --out /var/lib/vz/dump\n") {
		t.Fatalf("the commands of the example:\n%s", commands)
	}
	// Between the two parts a reader edits agentd.yaml.
	const edit = "archive=$(ls -t /var/lib/vz/dump/*.tar.zst | head -n 1)\n" +
		"felhom-golden inspect --json $archive >inspected.json\n" +
		"sed -i \"s,^hypervisor:.*,hypervisor: lxc,; s,^bridge:.*,bridge: br0,; s,golden: .*},golden: $archive},\" agentd.yaml\n" +
		"cp agentd.yaml /etc/felhom/\n"
	shown := text(m.follow(t, []string{build, edit, "felhom-agentd check" + guests, "curl --fail --silent --show-error http://192.0.2.25/\n"}))
	if !strings.Contains(shown, "\nguest 8250 (ce): up in ") || !strings.Contains(shown, "\nIt works.\n") {
		t.Errorf("want a guest that answers, got:\n%s", shown)
	}
	inspected, err := os.ReadFile(filepath.Join(m.Rootfs(), "root/release/inspected.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, isThere := range map[string]bool{"docker-ce": true, "containerd.io": true, "docker.io": false, "containerd": false, "runc": false} {
		if strings.Contains(string(inspected), `"name": "`+name+`"`) != isThere {
			t.Errorf("the golden image has the package %s: want %t", name, isThere)
		}
	}
	m.do(t, "felhom-agentd", "guest", "remove", "--force", "8250")
}
