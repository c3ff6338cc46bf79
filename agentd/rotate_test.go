package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/internal/contract"
)

// mounted returns what is in the guest's mount.
func (b *bed) mounted(t *testing.T, vmid string) contract.Bootstrap {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, "mounts", vmid, "bootstrap.json"))
	if err != nil {
		t.Fatal(err)
	}
	boot, findings := contract.Parse(data)
	if err := findings.Err(); err != nil {
		t.Fatal(err)
	}
	b.tokens = append(b.tokens, boot.LocalAPIToken.Reveal())
	return boot
}

// A controller asks all the time; after each rotation the bootstrapper, which
// reads the mount, gives it the new token when it is done. No request fails.
func TestRotationFailsNoRequest(t *testing.T) {
	b := startDaemon(t)
	first := b.add(t, "8200")
	c := client(t, first)
	var mu sync.Mutex
	held := first.LocalAPIToken.Reveal() // by the controller
	stop, served, ended := make(chan struct{}), make(chan string), make(chan struct{})
	asked := 0
	go func() {
		defer close(ended)
		for ; ; asked++ {
			select {
			case <-stop:
				return
			default:
			}
			mu.Lock() // a controller that is restarted ends its requests first
			token := held
			status, body := b.do(t, c, http.MethodGet, contract.PathStorage, token, "")
			mu.Unlock()
			if status != http.StatusOK {
				t.Errorf("request %d of the controller: %d %s", asked, status, body)
				return
			}
			select {
			case served <- token:
			default:
			}
		}
	}()
	for i := range 10 {
		b.command(t, "guest", "rotate", "8200")
		boot := b.mounted(t, "8200")
		for _, path := range []string{contract.PathGuest, contract.PathGuest} {
			if status, body := b.do(t, c, http.MethodGet, path, boot.LocalAPIToken.Reveal(), ""); status != http.StatusOK {
				t.Errorf("rotation %d: the bootstrapper's request: %d %s", i, status, body)
			}
		}
		mu.Lock()
		held = boot.LocalAPIToken.Reveal()
		mu.Unlock()
		// A rotation before the controller has used this token would end it.
		for isUsed := false; !isUsed; {
			select {
			case token := <-served:
				isUsed = token == boot.LocalAPIToken.Reveal()
			case <-ended:
				t.FailNow()
			}
		}
	}
	close(stop)
	<-ended
	if asked < 10 {
		t.Errorf("the controller asked %d times, want more than rotations", asked)
	}
}

func TestRevokedGuestIsRefused(t *testing.T) {
	b := startDaemon(t)
	first := b.add(t, "8200")
	other := b.add(t, "8201")
	c := client(t, first)
	ask := func(boot contract.Bootstrap, want int) {
		t.Helper()
		if status, body := b.do(t, c, http.MethodGet, contract.PathStorage, boot.LocalAPIToken.Reveal(), ""); status != want {
			t.Errorf("guest with token: %d %s, want %d", status, body, want)
		}
	}
	ask(first, 200)
	if out := b.command(t, "guest", "revoke", "8200"); !strings.Contains(out, "(1 revoked)") {
		t.Errorf("revoke printed %q", out)
	}
	ask(first, 401)
	ask(other, 200)
	if out := b.command(t, "guest", "list"); strings.Count(out, "its tokens were revoked") != 1 {
		t.Errorf("list:\n%s", out)
	}
	var rotated []added
	if err := json.Unmarshal([]byte(b.command(t, "guest", "rotate", "--all", "--json")), &rotated); err != nil || len(rotated) != 1 || rotated[0].Guest != 8201 {
		t.Errorf("rotate --all: %+v, %v, want guest 8201 alone", rotated, err)
	}
	ask(b.mounted(t, "8201"), 200)
	ask(first, 401)
	b.command(t, "guest", "rotate", "8200")
	ask(b.mounted(t, "8200"), 200)
	ask(first, 401)

	if out := b.command(t, "audit", "verify"); !strings.Contains(out, "are what was written") {
		t.Errorf("audit verify printed %q", out)
	}
	trail := filepath.Join(b.dir, "state/audit/audit.log")
	wants := []string{
		`"event":"started"`, `"event":"token-minted","guest":8200`, `"event":"token-first-used","guest":8200`, `"event":"token-revoked","guest":8200`,
		`"event":"ended-token-used","guest":8200,"source":"127.0.0.1"`, "was revoked",
	}
	var data []byte
	for range 600 { // the daemon writes in the background
		var err error
		if data, err = os.ReadFile(trail); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("was revoked")) {
			break
		}
		b.command(t, "audit", "verify")
	}
	for _, want := range wants {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("the audit log has no %s:\n%s", want, data)
		}
	}
	if err := os.WriteFile(trail, bytes.Replace(data, []byte(`"guest":8200`), []byte(`"guest":8201`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{program, "--config", b.config, "audit", "verify"}, &bytes.Buffer{}, &stderr); code != 4 {
		t.Errorf("a changed log: exit %d, want 4: %s", code, stderr.String())
	}
}

func TestRotateAndRevokeRefuse(t *testing.T) {
	b := newBed(t)
	for args, want := range map[string]int{
		"guest rotate": 2, "guest rotate --all 8200": 2, "guest rotate x": 2, "guest revoke": 2, "guest revoke x": 2,
		"guest rotate 8299": 3, "guest revoke 8299": 3, "guest rotate --all": 0, "audit verify x y": 2, "audit verify x": 2,
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{program, "--config", b.config}, strings.Fields(args)...), &stdout, &stderr); code != want {
			t.Errorf("%s: exit %d, want %d: %s", args, code, want, stderr.String())
		}
		if want != 0 && (stdout.Len() > 0 || stderr.Len() == 0) {
			t.Errorf("%s: stdout %q, stderr %q", args, stdout.String(), stderr.String())
		}
	}
}
