package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pin"
)

// patience is how long a test waits for what takes moments on a machine that has nothing else to do.
const patience = 3 * time.Minute

// until waits for a condition of the daemon.
func until(t *testing.T, b *bed, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s\n%.4000s", patience, what, b.logs)
		}
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// The bridge gets another address: the daemon serves there with a certificate
// that names it and with the same key, and the mounts say so, without a restart.
func addressChange(t *testing.T) {
	t.Parallel()
	name := fmt.Sprintf("fk%d", os.Getpid())
	ip(t, "link", "add", name, "type", "bridge")
	t.Cleanup(func() { ip(t, "link", "del", name) })
	third := os.Getpid() % 250
	first, second := fmt.Sprintf("198.18.%d.1", third), fmt.Sprintf("198.19.%d.1", third)
	ip(t, "addr", "add", first+"/24", "dev", name)
	ip(t, "link", "set", name, "up")
	b := newBed(t, "registry_access: proxy\nregistry: {host: registry.example, username: puller, token_file: TOKEN}\n")
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "listen:") })
	secret := filepath.Join(b.dir, "token")
	changed := strings.Replace(strings.Join(lines, "\n"), "TOKEN", secret, 1) + "bridge: " + name + "\n"
	if err := os.WriteFile(secret, []byte("upstream\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	b.startProcess(t)
	before := b.add(t, "8200")
	if got := before.LocalAPIEndpoint.URL(); got != "https://"+first+":8443" {
		t.Fatalf("endpoint %s", got)
	}
	ip(t, "addr", "add", second+"/24", "dev", name)
	ip(t, "addr", "del", first+"/24", "dev", name)
	until(t, b, "the mount has the new address", func() bool { return b.mounted(t, "8200").LocalAPIEndpoint.URL() == "https://"+second+":8443" })
	after := b.mounted(t, "8200")
	if after.LocalAPIToken.Reveal() != before.LocalAPIToken.Reveal() || !slices.Equal(after.LocalAPIPins, before.LocalAPIPins) {
		t.Error("token or pins have changed")
	}
	b.url = after.LocalAPIEndpoint.URL()
	if status, body := b.do(t, client(t, before), http.MethodGet, contract.PathStorage, before.LocalAPIToken.Reveal(), ""); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	hosts, err := os.ReadFile(filepath.Join(b.dir, "mounts/8200", contract.RegistryHostsFile))
	if err != nil || !bytes.Contains(hosts, []byte(second)) || bytes.Contains(hosts, []byte(first)) {
		t.Errorf("hosts.toml: %v\n%s", err, bytes.ReplaceAll(hosts, []byte(after.LocalAPIToken.Reveal()), []byte("TOKEN")))
	}
	shown, err := os.ReadFile(filepath.Join(b.dir, "state/tls/current.crt"))
	agent, err2 := os.ReadFile(filepath.Join(b.dir, "mounts/8200", contract.RegistryCertificateFile))
	if err != nil || err2 != nil || !bytes.HasPrefix(agent, shown) {
		t.Errorf("agent.crt is not the certificate that is shown: %v, %v", err, err2)
	}
}

// aged makes the guest's token look as if it had been minted before.
func (b *bed) aged(t *testing.T, vmid int, by time.Duration) {
	t.Helper()
	store := b.store(t)
	err := store.Update(t.Context(), vmid, func(r *guests.Record) error {
		r.Current.Minted = r.Current.Minted.Add(-by)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Old tokens are replaced by the daemon; the one in use is served until the
// guest uses the new one, however long that takes; then it is refused, which is
// in the audit log.
func TestTokensAreRotatedByAge(t *testing.T) {
	t.Parallel()
	b := newBed(t, "tokens: {rotate_every: 30d}\n")
	old, young := b.add(t, "8200"), b.add(t, "8201")
	b.add(t, "8202")
	b.command(t, "guest", "revoke", "8202")
	b.aged(t, 8200, 400*24*time.Hour)
	b.aged(t, 8201, 29*24*time.Hour)
	b.startProcess(t)
	until(t, b, "guest 8200 has a new token", func() bool { return b.mounted(t, "8200").LocalAPIToken.Reveal() != old.LocalAPIToken.Reveal() })
	fresh := b.mounted(t, "8200")
	c := client(t, old)
	ask := func(boot contract.Bootstrap, want int) {
		t.Helper()
		if status, body := b.do(t, c, http.MethodGet, contract.PathStorage, boot.LocalAPIToken.Reveal(), ""); status != want {
			t.Errorf("%d %s, want %d", status, body, want)
		}
	}
	ask(old, 200)
	b.aged(t, 8200, 300*24*time.Hour) // the guest is off for long
	ask(old, 200)
	if out := b.command(t, "guest", "list"); !strings.Contains(out, "it has not used its token of") {
		t.Errorf("guest list does not say so:\n%s", out)
	}
	ask(fresh, 200)
	ask(old, 401)
	if got := b.mounted(t, "8201"); got.LocalAPIToken.Reveal() != young.LocalAPIToken.Reveal() {
		t.Error("a token was replaced before its time")
	}
	if out := b.command(t, "guest", "list"); strings.Contains(out, "it has not used its token of") || !strings.Contains(out, "its tokens were revoked") {
		t.Errorf("guest list:\n%s", out)
	}
	until(t, b, "the use of the old token is in the audit log", func() bool {
		data, err := os.ReadFile(filepath.Join(b.dir, "state/audit/audit.log"))
		return err == nil && bytes.Contains(data, []byte(`"event":"ended-token-used","guest":8200`))
	})
	b.command(t, "audit", "verify")
}

func TestTokenIsDue(t *testing.T) {
	day := 24 * time.Hour
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	used := time.Now()
	stored := func(minted time.Time, first *time.Time) guests.Stored {
		return guests.Stored{SHA256: token.Sum("x"), Minted: minted, FirstUsed: first}
	}
	record := func(current guests.Stored, previous *guests.Stored) guests.Record {
		return guests.Record{Version: 1, Current: current, Previous: previous}
	}
	before := stored(ago(90*day), &used)
	for name, c := range map[string]struct {
		expiry  time.Duration
		record  guests.Record
		profile contract.Profile
		want    bool
		overlap time.Duration
	}{
		"young":                          {0, record(stored(ago(29*day), &used), nil), contract.ProfileFelhom, false, 0},
		"old":                            {0, record(stored(ago(30*day+time.Minute), &used), nil), contract.ProfileFelhom, true, guests.UntilUsed},
		"never used":                     {0, record(stored(ago(31*day), nil), nil), contract.ProfileFelhom, true, guests.UntilUsed},
		"old, with expiry":               {60 * day, record(stored(ago(31*day), &used), nil), contract.ProfileFelhom, true, 29 * day},
		"older than the expiry":          {60 * day, record(stored(ago(99*day), &used), nil), contract.ProfileFelhom, true, day},
		"the guest has not read it":      {60 * day, record(stored(ago(99*day), nil), &before), contract.ProfileFelhom, false, 0},
		"of a plain guest":               {0, record(stored(ago(31*day), nil), &before), contract.ProfilePlain, true, day},
		"the clock was behind for years": {60 * day, record(stored(ago(9000*day), &used), nil), contract.ProfileFelhom, true, day},
		"the clock was ahead for years":  {60 * day, record(stored(ago(-9000*day), &used), nil), contract.ProfileFelhom, true, 60 * day},
		"the clock was ahead a little":   {60 * day, record(stored(ago(-day), &used), nil), contract.ProfileFelhom, false, 0},
		"revoked":                        {0, guests.Record{Version: 1}, contract.ProfileFelhom, false, 0},
	} {
		k := &keeper{cfg: config.Config{Tokens: config.Tokens{RotateEvery: 30 * day, ExpireAfter: c.expiry}, Limits: config.Limits{TokenOverlap: day}}}
		due, overlap := k.due(c.record, c.profile)
		if due != c.want || (overlap-c.overlap).Abs() > time.Minute {
			t.Errorf("%s: %v for %v, want %v for %v", name, due, overlap, c.want, c.overlap)
		}
	}
	if due, _ := (&keeper{}).due(record(stored(ago(9000*day), &used), nil), contract.ProfileFelhom); due {
		t.Error("without rotate_every a token is due")
	}
}

// The daemon of another configuration than that of the mounts, and a pin file
// that was made by hand, are of no account: what is renewed is what the host is.
func TestMountsAreRenewedAtStart(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.add(t, "8200")
	file := filepath.Join(b.dir, "mounts/8200/bootstrap.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	keys["local_api_endpoint"], keys["controller_image"] = "https://192.0.2.9:8443", "registry.example/other:v7"
	if data, err = json.Marshal(keys); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b.startProcess(t)
	until(t, b, "the mount has this host's address", func() bool { return b.mounted(t, "8200").LocalAPIEndpoint.URL() == b.url })
	got := b.mounted(t, "8200")
	if got.ControllerImage.String() != "registry.example/other:v7" {
		t.Errorf("image %s: the daemon changed more than the host's part", got.ControllerImage)
	}
	if c, n := b.keys(t); !slices.Equal(got.LocalAPIPins, pin.Set{parsePin(t, c), parsePin(t, n)}) {
		t.Errorf("pins %v", got.LocalAPIPins)
	}
}

func parsePin(t *testing.T, text string) pin.Pin {
	t.Helper()
	p, err := pin.ParseSPKI(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Killed at any moment of its rotations, the daemon leaves a token in the mount
// that works, and the one that the guest has works too.
func TestDaemonKilledWhileItRotates(t *testing.T) {
	t.Parallel()
	b := newBed(t, "tokens: {rotate_every: 30d}\n")
	b.add(t, "8200")
	for round := range 8 {
		before := b.mounted(t, "8200")
		b.aged(t, 8200, 400*24*time.Hour)
		p := b.startProcess(t)
		<-time.After(rand.N(40 * time.Millisecond)) // any moment will do
		p.end(t, os.Kill)
		_ = os.Remove(filepath.Join(b.dir, "health.sock"))
		store, err := guests.Open(filepath.Join(b.dir, "state/guests"), filepath.Join(b.dir, "state"), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		after := b.mounted(t, "8200")
		for name, boot := range map[string]contract.Bootstrap{"the guest's": before, "the mount's": after} {
			tok, err := token.Parse(boot.LocalAPIToken.Reveal())
			if err == nil {
				_, err = store.Authenticate(tok)
			}
			if err != nil {
				t.Errorf("round %d, %s token: %v", round, name, err)
			}
		}
		// The guest reads its mount, so that the next rotation is due.
		if tok, err := token.Parse(after.LocalAPIToken.Reveal()); err != nil {
			t.Error(err)
		} else if err := store.MarkUsed(t.Context(), tok); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}
