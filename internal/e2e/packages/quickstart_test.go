//go:build packages

package packages_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// part is a section of a page, with what a reader types.
type part struct {
	title  string
	blocks []string
}

// parts returns the sections of a Markdown page with their indented blocks, without those that the paragraph before says are for
// Proxmox VE: the machine is not such a node.
func parts(page string) (list []part) {
	for section := range strings.SplitSeq(page, "\n## ") {
		title, text, _ := strings.Cut(section, "\n")
		p := part{title: title}
		before := ""
		for chunk := range strings.SplitSeq(joinCode(strings.TrimLeft(text, "\n")), "\n\n") {
			if strings.HasPrefix(chunk, "    ") {
				if !strings.HasSuffix(before, "On Proxmox VE:") {
					p.blocks = append(p.blocks, strings.ReplaceAll("\n"+strings.TrimRight(chunk, "\n"), "\n    ", "\n")[1:]+"\n")
				}
				continue
			}
			before = strings.TrimSpace(chunk)
		}
		list = append(list, p)
	}
	return list
}

// joinCode removes empty lines between two lines of code, which are one block.
func joinCode(text string) string {
	return regexp.MustCompile(`(?m)^(    .*)\n\n    `).ReplaceAllString(text, "$1\n    ")
}

func TestPartsOfAPage(t *testing.T) {
	const page = "# T\n\nIntroduction.\n\n## One\n\nText:\n\n    a <<END\n      b\n    END\n    c\n\nOn Proxmox VE:\n\n    d\n\nOn liblxc:\n\n    e\n\n## Two\n\n    f\n\nText.\n"
	got := fmt.Sprintf("%q", parts(page))
	want := `[{"# T" []} {"One" ["a <<END\n  b\nEND\nc\n" "e\n"]} {"Two" ["f\n"]}]`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestQuickStart follows docs/quickstart.md as printed on a bare machine, whose guests are real. Between its last two sections the
// daemon is replaced by the older version and upgraded again, with guests running. Then it follows examples/docker-ce.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	image := regexp.MustCompile(`(?m)^      image: (\S+)$`).FindStringSubmatch(page)
	if image == nil {
		t.Fatal("docs/quickstart.md has no recipe with an image")
	}
	bed := testbed.FromEnv(t)
	other, err := os.ReadFile("../../../examples/docker-ce/agentd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, "trixie", bare, 240)
	o := newOutside(t, bed, mirror(t), filepath.Join(m.Rootfs(), site), image[1], regexp.MustCompile(`controller_image: (\S+)`).FindStringSubmatch(string(other))[1])
	m.env = append(m.env, "http_proxy="+o.url, "https_proxy="+o.url, "no_proxy=192.0.2.0/24")
	m.write(t, "usr/local/share/ca-certificates/hub.crt", string(o.ca))
	m.write(t, "etc/apt/apt.conf.d/90test", "APT::Get::Assume-Yes \"true\";\nDpkg::Use-Pty \"false\";\n") // where a reader presses Enter
	m.do(t, "apt-get", "update")

	sections := parts(page)
	last := 0
	for i, s := range sections {
		if len(s.blocks) > 0 {
			last = i
		}
	}
	if last < 4 {
		t.Fatalf("docs/quickstart.md has no sections: %q", sections)
	}
	m.do(t, "cp", "-rT", "/debs/new", "/root/release")
	var blocks []string
	for _, s := range sections[:last] {
		blocks = append(blocks, s.blocks...)
	}
	shown := m.follow(t, blocks)
	if said := text(shown); !strings.Contains(said, "\nguest 8200 (web): up in ") || !strings.Contains(said, "\nIt works.\n") {
		t.Fatalf("the page does not end with a guest that answers:\n%s", said)
	}
	m.upgradeWithGuests(t)
	more := m.follow(t, sections[last].blocks)
	if said := text(more); !strings.Contains(said, "guest 8200 removed: itself with its disks") || !strings.Contains(said, "GREETING") || strings.Contains(said, "8201") {
		t.Errorf("section %s:\n%s", sections[last].title, said)
	}
	if t.Failed() {
		return
	}
	// What apt writes is left out.
	shown = prompted(shown, blocks)
	recipe := slices.IndexFunc(shown, func(l stamped) bool { return strings.HasPrefix(l.text, "$ cat > golden.yaml") })
	if recipe < 0 {
		t.Fatalf("the recipe is not in what was shown:\n%s", text(shown))
	}
	record(t, append(shown[recipe:], prompted(more, sections[last].blocks)...))
	m.dockerExample(t)
}

// preamble is what a page's blocks are run after.
const preamble = "set -euo pipefail\ncd /root/release\n"

// follow runs blocks of a page in one shell, which ends at the first command that fails, and returns what a terminal shows of it.
func (m machine) follow(t *testing.T, blocks []string) []stamped {
	t.Helper()
	m.write(t, "root/page.sh", preamble+strings.Join(blocks, "\n"))
	out := m.do(t, "bash", "-c", "{ bash -v /root/page.sh </dev/null 2>&1 || echo \"ended with status $?\"; } | "+stamp)
	if strings.Contains(out, " ended with status ") {
		t.Fatalf("a command of the page fails:\n%s%s", out, m.do(t, "journalctl", "--no-pager", "-n", "50"))
	}
	return parseStamped(t, out)
}

// text is what a session shows, without its times.
func text(lines []stamped) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// known is what an upgrade must leave as it is.
type known struct{ token, pin, endpoint, init string }

// upgradeWithGuests goes back to the older version, makes a second guest with it, and upgrades while both guests report. The second
// one is removed at the end: the page has one guest, and so has its recording.
func (m machine) upgradeWithGuests(t *testing.T) {
	m.apt(t, "install", "--allow-downgrades", "/debs/old/felhom-agentd_"+versions["old"]+"_amd64.deb")
	m.do(t, "felhom-agentd", "provision", "--vmid", "8201", "--hostname", "second", "--ip", "192.0.2.21/24")
	guests := []string{"8200", "8201"}
	before := map[string]known{}
	for _, vmid := range guests {
		before[vmid] = m.known(t, vmid)
	}
	m.wantReports(t, "before the upgrade", guests)
	stop := m.keepReporting(t, guests)
	m.apt(t, "install", "/debs/new/felhom-agentd_"+versions["new"]+"_amd64.deb")
	stop()
	if got := m.do(t, "felhom-agentd", "--version"); !strings.HasPrefix(got, "felhom-agentd v"+versions["new"]+" ") {
		t.Errorf("--version: got %q", got)
	}
	m.wantReports(t, "upgraded", guests)
	for _, vmid := range guests {
		if now := m.known(t, vmid); now != before[vmid] {
			t.Errorf("guest %s: the upgrade changed its token, pin or address, or started it again", vmid)
		}
	}
	if refused := m.do(t, "sh", "-c", "journalctl --no-pager -u felhom-agentd | grep -E 'refused|does not match' || true"); refused != "" {
		t.Errorf("guests were refused:\n%s", refused)
	}
	m.do(t, "felhom-agentd", "guest", "remove", "--force", "8201")
}

func (m machine) known(t *testing.T, vmid string) known {
	t.Helper()
	var boot struct {
		Token    string `json:"local_api_token"`
		Pin      string `json:"local_api_pin_spki_sha256"`
		Endpoint string `json:"local_api_endpoint"`
	}
	data, err := os.ReadFile(filepath.Join(m.Rootfs(), "var/lib/felhom/mounts", vmid, "bootstrap.json"))
	if err == nil {
		err = json.Unmarshal(data, &boot)
	}
	if err != nil || boot.Token == "" || boot.Pin == "" {
		t.Fatalf("bootstrap.json of guest %s: %v", vmid, err)
	}
	init := m.do(t, "lxc-info", "--lxcpath", "/var/lib/felhom/guests", "--name", vmid, "--no-humanize", "--pid")
	return known{boot.Token, boot.Pin, boot.Endpoint, strings.TrimSpace(init)}
}

// stir has the guests run again, as whenever their file in the mount is written, and so report each step.
func (m machine) stir(ctx context.Context, guests []string) error {
	var files []string
	for _, vmid := range guests {
		files = append(files, "/var/lib/felhom/mounts/"+vmid+"/bootstrap.json")
	}
	_, err := m.Ask(ctx, append([]string{"/usr/bin/touch", "--no-create"}, files...)...)
	return err
}

// wantReports wants from each guest a new report of a whole run that ended well.
func (m machine) wantReports(t *testing.T, when string, guests []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	from := time.Now().Truncate(time.Second).Add(time.Second) // the list has whole seconds
	<-time.After(time.Until(from))
	if err := m.stir(ctx, guests); err != nil {
		t.Fatal(err)
	}
	var list string
	if err := guest.Poll(ctx, func() error {
		var rows []struct {
			Guest      int       `json:"guest"`
			Controller string    `json:"controller"`
			Since      time.Time `json:"since"`
			Step       string    `json:"step"`
		}
		list = m.do(t, "felhom-agentd", "guest", "list", "--json")
		if err := json.Unmarshal([]byte(list), &rows); err != nil {
			return err
		}
		for _, r := range rows {
			if r.Controller != "healthy" || r.Step != "run" || r.Since.Before(from) {
				return fmt.Errorf("guest %d has not reported a whole run since %v", r.Guest, from)
			}
		}
		if len(rows) != len(guests) {
			return fmt.Errorf("%d guests, want %d", len(rows), len(guests))
		}
		return nil
	}); err != nil {
		t.Errorf("%s: %v\n%s", when, err, list)
	}
}

// keepReporting stirs the guests again and again until the function that it returns is called.
func (m machine) keepReporting(t *testing.T, guests []string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			err = m.stir(context.WithoutCancel(ctx), guests)
			select { // more often than five times in ten seconds, systemd would refuse to start the unit
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
			}
		}
		done <- err
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
