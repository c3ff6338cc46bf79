package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/command/commandtest"
)

var update = flag.Bool("update", false, "write the manual page and the completions")

// The manual page and the completions are what the command line gives: "make docs" writes them.
func TestDocuments(t *testing.T) {
	commandtest.Documents(t, "..", *update, func(more string) map[string]string {
		return command.Documents(newApp(io.Discard, io.Discard), 8, more)
	})
}

// The example of the package and the configuration of the quick start are accepted.
func TestExamplesOfPackageAndQuickStart(t *testing.T) {
	example, err := os.ReadFile("../contrib/debian/agentd.yaml.example")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	written := regexp.MustCompile(`(?s)cat > /etc/felhom/agentd.yaml <<END\n(.*?) *END\n`).FindSubmatch(page)
	if written == nil {
		t.Fatal("docs/quickstart.md writes no agentd.yaml")
	}
	text := strings.NewReplacer("$archive", "/srv/vzdump-lxc-9100-2026_11_24-02_12_15.tar.zst", "$hypervisor", "pct", "$bridge", "vmbr0").Replace(string(written[1]))
	for name, data := range map[string]string{
		"agentd.yaml.example": string(example), "docs/quickstart.md": text,
		// What is commented out, too.
		"agentd.yaml.example, uncommented": regexp.MustCompile(`(?m)^# ((?:registry|provision):|  )`).ReplaceAllString(string(example), "$1"),
	} {
		if _, err := config.Parse(name, []byte(data)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, data)
		}
	}
}

// The completions read VMIDs from the JSON of "guest list", whatever guests have reported.
func TestListIsCompleted(t *testing.T) {
	b := startDaemon(t)
	boot := b.add(t, "8200")
	b.add(t, "8201")
	body := fmt.Sprintf(`{"run":"r1","sequence":1,"time":"2026-03-01T12:00:00Z","step":"image","state":"started","message":%q}`, `{"guest": 1}, "guest": 2`)
	if got, text := b.do(t, client(t, boot), "POST", "/reports", boot.LocalAPIToken.Reveal(), body); got != 204 {
		t.Fatalf("%d %s", got, text)
	}
	script, err := os.ReadFile("../contrib/completions/bash/felhom-agentd")
	if err != nil {
		t.Fatal(err)
	}
	pipeline := regexp.MustCompile(`2>/dev/null \| (tr .*/p')\)`).FindSubmatch(script)
	if pipeline == nil {
		t.Fatal("the completion of bash has no pipeline that reads VMIDs")
	}
	sh := exec.CommandContext(t.Context(), "sh", "-c", string(pipeline[1]))
	list := b.command(t, "guest", "list", "--json")
	sh.Stdin = strings.NewReader(list)
	if out, err := sh.Output(); err != nil || string(out) != "8200\n8201\n" {
		t.Errorf("got %q, %v, of\n%s", out, err, list)
	}
	vmids := regexp.MustCompile(`"guest": *([0-9]+)`).FindAllStringSubmatch(list, -1) // the expression of fish
	if len(vmids) != 2 || vmids[0][1] != "8200" || vmids[1][1] != "8201" {
		t.Errorf("got %q, of\n%s", vmids, list)
	}
}
