package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/audit"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/filelock"
)

// pullLine is what a test reads of a pull's line in the audit log.
type pullLine struct {
	Event, Repository, Reference, Digest, Detail string
	Guest, Status                                int
	Bytes                                        int64
	DurationMS                                   *int64 `json:"duration_ms"`
}

// auditedPulls waits for n pulls in the audit log, and returns it too.
func auditedPulls(t *testing.T, dir string, n int) (lines []pullLine, text string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		data, err := os.ReadFile(filepath.Join(dir, "audit.log"))
		if err != nil {
			t.Fatal(err)
		}
		lines = nil
		for line := range bytes.Lines(data) {
			var l pullLine
			if json.Unmarshal(line, &l) == nil && l.Event == string(audit.Pulled) {
				lines = append(lines, l)
			}
		}
		if len(lines) >= n {
			return lines, string(data)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d lines of pulls, want %d:\n%s", len(lines), n, data)
		}
	}
}

func pullsAreInTheAuditLog(t *testing.T) {
	t.Parallel()
	u := startUpstream(t)
	b := startDaemonProcess(t, u.proxyConfig(t, registrySecret))
	boot := b.add(t, "8200")
	if _, err := pull(t, b, boot, "team/app:v1", boot.LocalAPIToken.Reveal()); err != nil {
		t.Fatal(err)
	}
	lines, text := auditedPulls(t, filepath.Join(b.dir, "state/audit"), 4) // manifest, configuration, two layers
	byDigest := map[string]bool{}
	for _, l := range lines {
		byDigest[l.Digest] = true
		if l.Guest != 8200 || l.Repository != u.host+"/team/app" || !strings.HasPrefix(l.Digest, "sha256:") || l.Bytes == 0 || l.Status != 200 || l.DurationMS == nil || l.Reference == "" {
			t.Errorf("%+v", l)
		}
	}
	layers, err := u.image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		if digest, err := layer.Digest(); err != nil || !byDigest[digest.String()] {
			t.Errorf("no line for layer %v: %v", digest, err)
		}
	}
	for _, secret := range []string{registrySecret, boot.LocalAPIToken.Reveal()} {
		if strings.Contains(text, secret) {
			t.Error("the audit log holds a secret")
		}
	}
	b.command(t, "audit", "verify")
}

// A guest that pulls without end must not push older lines out of the log, and
// what has no line of its own is in the next one.
func TestPullsInTheAuditLogAreBounded(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	trail := newTrail(log, audit.NewQueue(log, func(err error) { t.Error(err) }))
	now := time.Now()
	trail.now = func() time.Time { return now }
	line := registryproxy.Pull{VMID: 8200, Repository: "registry.example/team/app", Digest: "sha256:00", Bytes: 7, Status: 200, Duration: time.Second}
	for range 5000 {
		trail.pulled(line)
	}
	other := line
	other.VMID = 8201
	other.Err = errors.New("cut\x1b[31m\n" + strings.Repeat("x", 5000))
	trail.pulled(other)
	now = now.Add(time.Hour)
	trail.pulled(line)
	if err := trail.close(); err != nil {
		t.Fatal(err)
	}
	lines, text := auditedPulls(t, dir, 3)
	if n := len(lines); n > 200 {
		t.Errorf("%d lines for 5000 pulls within a moment", n)
	}
	last := lines[len(lines)-1]
	if want := fmt.Sprintf("%d more", 5000-(len(lines)-2)); last.Guest != 8200 || !strings.Contains(last.Detail, want) || !strings.Contains(last.Detail, " bytes") {
		t.Errorf("the last line is %+v, want %q in it", last, want)
	}
	isThere := false
	for _, l := range lines {
		isThere = isThere || l.Guest == 8201 && strings.Contains(l.Detail, "cut")
	}
	if !isThere || len(text) > 200<<10 || strings.Contains(text, "\x1b") {
		t.Errorf("the other guest's line is there: %v; %d bytes", isThere, len(text))
	}
}

// agent.crt follows the certificates without a new token: engines know no pins,
// and would refuse the host until the guest gets a new bootstrap.json.
func TestTheMountFollowsTheCertificates(t *testing.T) {
	u := startUpstream(t)
	b := newBed(t, u.proxyConfig(t, registrySecret))
	boot, plain := b.add(t, "8200"), b.add(t, "8201")
	mount := func(vmid, name string) string { return filepath.Join(b.dir, "mounts", vmid, name) }
	before, err := os.ReadFile(mount("8200", contract.RegistryCertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	// A guest of another registry_access has no such file, and gets none.
	for _, name := range []string{contract.RegistryCertificateFile, contract.RegistryHostsFile} {
		if err := os.Remove(mount("8201", name)); err != nil {
			t.Fatal(err)
		}
	}
	// The certificates are made again from their keys, as when an address changes.
	for _, name := range []string{"current.crt", "next.crt"} {
		if err := os.Remove(filepath.Join(b.dir, "state/tls", name)); err != nil {
			t.Fatal(err)
		}
	}
	b.serve(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		after, err := os.ReadFile(mount("8200", contract.RegistryCertificateFile))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, after) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("agent.crt has the old certificates\n%s", b.logs)
		}
	}
	if got := b.mounted(t, "8200"); got.LocalAPIToken.Reveal() != boot.LocalAPIToken.Reveal() {
		t.Error("the guest has another token")
	}
	if _, err := pull(t, b, boot, "team/app:v1", boot.LocalAPIToken.Reveal()); err != nil {
		t.Errorf("%v\n%s", err, b.logs)
	}
	if _, err := os.Lstat(mount("8201", contract.RegistryCertificateFile)); !os.IsNotExist(err) {
		t.Errorf("guest %d, which has no hosts.toml, got one: %v", plain.GuestID, err)
	}
}

// Pulls of many guests at once must not take the room of other events, which
// are about tokens.
func TestPullsLeaveRoomForOtherEvents(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	hold, err := filelock.Claim(filepath.Join(dir, "audit.lock")) // nothing is written meanwhile
	if err != nil {
		t.Fatal(err)
	}
	trail := newTrail(log, audit.NewQueue(log, func(err error) { t.Error(err) }))
	for i := range 3000 {
		trail.pulled(registryproxy.Pull{VMID: 8200 + i%100, Repository: "registry.example/team/app", Status: 200})
	}
	trail.add(api.Event{Kind: api.OtherGuestDenied, VMID: 8200})
	if err := hold(); err != nil {
		t.Fatal(err)
	}
	if err := trail.close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	if err != nil || !bytes.Contains(data, []byte(audit.OtherGuestDenied)) || bytes.Contains(data, []byte("events-lost")) {
		t.Errorf("%v; %d lines, the last ones:\n%s", err, bytes.Count(data, []byte("\n")), data[max(0, len(data)-1000):])
	}
}

// A disk of the cache that is full, or cannot be read, must not fill the log.
func TestFaultsOfTheCacheDoNotFillTheLog(t *testing.T) {
	var out bytes.Buffer
	failed := cacheFaults(newLogger(&out, logOptions{format: logJSON, level: logrus.InfoLevel}))
	for range 1000 {
		failed(errors.New("no space left on device"))
	}
	if n := strings.Count(out.String(), "\n"); n != trailBurst || !strings.Contains(out.String(), "no space left") {
		t.Errorf("%d lines, want %d:\n%.2000s", n, trailBurst, out.String())
	}
}

// A guest that pulls, or hangs up, many times a second must not fill the log.
func TestPullsDoNotFillTheLog(t *testing.T) {
	var out bytes.Buffer
	logger := newLogger(&out, logOptions{format: logJSON, level: logrus.InfoLevel})
	pulls := newPullLog(logger)
	for range 1000 {
		pulls.add(registryproxy.Pull{VMID: 8200, Status: 200})
		pulls.add(registryproxy.Pull{VMID: 8200, Status: 200, Err: errors.New("cut")})
	}
	pulls.add(registryproxy.Pull{VMID: 8201, Status: 200, Err: errors.New("cut")})
	if n := strings.Count(out.String(), "\n"); n != trailBurst+1 {
		t.Errorf("%d lines, want %d of one guest and one of the other:\n%.2000s", n, trailBurst, out.String())
	}
	if n := strings.Count(out.String(), `"guest":8201`); n != 1 {
		t.Errorf("%d lines of the other guest", n)
	}
}
