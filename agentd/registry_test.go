package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
)

const registrySecret = "the-secret-of-the-upstream-4711"

// upstream is a registry that wants a password, with one image.
type upstream struct {
	host, ca string
	image    v1.Image
	blobs    atomic.Int32 // requests for blobs
}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{}
	content := memory.New(memory.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, secret, _ := r.BasicAuth(); secret != registrySecret {
			w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
			u.blobs.Add(1)
		}
		content.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	u.host = strings.TrimPrefix(server.URL, "https://")
	u.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(u.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if u.image, err = random.Image(100_000, 2); err != nil {
		t.Fatal(err)
	}
	push := remote.WithAuth(&authn.Basic{Username: "pusher", Password: registrySecret})
	for _, repository := range []string{"/team/app:v1", "/team/secret:v1"} {
		ref, err := name.ParseReference(u.host + repository)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, u.image, push, remote.WithTransport(server.Client().Transport)); err != nil {
			t.Fatal(err)
		}
	}
	u.blobs.Store(0)
	return u
}

// proxyConfig lets guests pull team/app:v1 of the upstream through a cache.
func (u *upstream) proxyConfig(t *testing.T, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("registry_access: proxy\nregistries: [{host: %q, username: puller, token_file: %s, ca_file: %s}]\nrepositories: [%q]\ncache: {dir: %s, size: 64MiB}\n",
		u.host, file, u.ca, u.host+"/team/app:v1", filepath.Join(t.TempDir(), "blobs"))
}

// pull pulls an image as an engine does: from the host's name, with a password.
func pull(t *testing.T, b *bed, boot contract.Bootstrap, repository, secret string, more ...remote.Option) (v1.Image, error) {
	t.Helper()
	ref, err := name.ParseReference(strings.TrimPrefix(b.url, "https://") + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	options := append([]remote.Option{remote.WithAuth(&authn.Basic{Username: "guest-8200", Password: secret}), remote.WithTransport(client(t, boot).Transport)}, more...)
	image, err := remote.Image(ref, options...)
	if err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, r) // the client checks the digest at the end
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
	}
	_, err = image.RawConfigFile()
	return image, err
}

func TestGuestsPullThroughTheHost(t *testing.T) {
	u := startUpstream(t)
	b := startDaemonWith(t, []string{"--log-level", "debug"}, u.proxyConfig(t, registrySecret))
	first, second := b.add(t, "8200"), b.add(t, "8201")
	if !first.RegistryProxy || first.Registry != nil {
		t.Errorf("bootstrap.json: proxy %v, registry %+v, want the proxy alone", first.RegistryProxy, first.Registry)
	}
	for i, boot := range []contract.Bootstrap{first, second} {
		got, err := pull(t, b, boot, "team/app:v1", boot.LocalAPIToken.Reveal())
		if err != nil {
			t.Fatalf("guest %d: %v\n%s", i, err, b.logs)
		}
		want, err := u.image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if digest, err := got.Digest(); err != nil || digest != want {
			t.Errorf("guest %d: image %v, %v, want %v", i, digest, err, want)
		}
	}
	if n := u.blobs.Load(); n != 3 {
		t.Errorf("the upstream was asked for %d blobs, want 3: the second guest has them from the cache", n)
	}
	if _, err := pull(t, b, first, "team/secret:v1", first.LocalAPIToken.Reveal()); err == nil || !strings.Contains(err.Error(), "DENIED") {
		t.Errorf("another repository: %v, want DENIED", err)
	}
	if _, err := pull(t, b, first, "team/app:v1", "wrong"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("wrong token: %v, want 401", err)
	}
	list := b.command(t, "cache", "list")
	if !strings.Contains(list, "3 blobs, ") {
		t.Errorf("cache list: %s", list)
	}
	if out := b.command(t, "cache", "prune", "--unused", "0s"); !strings.Contains(out, "3 blobs, ") {
		t.Errorf("cache prune: %s", out)
	}
	if got, err := pull(t, b, first, "team/app:v1", first.LocalAPIToken.Reveal()); err != nil || got == nil {
		t.Errorf("after prune: %v", err)
	}
	assertAudit(t, b, u.host)
	assertNoRegistrySecret(t, b, first, second)
}

// A guest pulls from the repositories of its own record, and no other guest does.
func TestAGuestPullsFromItsOwnRepositories(t *testing.T) {
	u := startUpstream(t)
	b := startDaemon(t, u.proxyConfig(t, registrySecret))
	first, second := b.add(t, "8200"), b.add(t, "8201")
	refused := func(boot contract.Bootstrap, who string) {
		t.Helper()
		if _, err := pull(t, b, boot, "team/secret:v1", boot.LocalAPIToken.Reveal()); err == nil || !strings.Contains(err.Error(), "DENIED") {
			t.Errorf("%s: %v, want DENIED", who, err)
		}
	}
	set := func(repositories ...string) {
		t.Helper()
		store, err := guests.Open(filepath.Join(b.dir, "state/guests"), filepath.Join(b.dir, "state"), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		err = store.Update(t.Context(), 8200, func(r *guests.Record) error {
			r.Asked = &guests.Asked{Repositories: repositories}
			return nil
		})
		if err := errors.Join(err, store.Close()); err != nil {
			t.Fatal(err)
		}
	}
	refused(first, "before")
	set(u.host + "/team/secret")
	if _, err := pull(t, b, first, "team/secret:v1", first.LocalAPIToken.Reveal()); err != nil {
		t.Errorf("%v\n%s", err, b.logs)
	}
	refused(second, "another guest")
	if out := b.command(t, "guest", "show", "8200"); !strings.Contains(out, "repositories "+u.host+"/team/secret\n") {
		t.Errorf("guest show:\n%s", out)
	}
	set(u.host + "/team/secret:v2")
	refused(first, "another tag")
	set()
	refused(first, "after")
}

func assertAudit(t *testing.T, b *bed, host string) {
	t.Helper()
	lines := 0
	for line := range strings.Lines(b.logs.String()) {
		var entry struct {
			Msg, Repository, Digest string
			Guest, Bytes, Status    int
			Cached                  bool
		}
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Msg != "pull" {
			continue
		}
		lines++
		if entry.Guest != 8200 && entry.Guest != 8201 || entry.Repository != host+"/team/app" || !strings.HasPrefix(entry.Digest, "sha256:") || entry.Bytes == 0 || entry.Status != 200 {
			t.Errorf("audit: %s", line)
		}
	}
	if lines == 0 {
		t.Errorf("no audit line in:\n%s", b.logs)
	}
}

// assertNoRegistrySecret scans what the guests have, and what was printed.
func assertNoRegistrySecret(t *testing.T, b *bed, boots ...contract.Bootstrap) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(b.dir, "mounts"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(registrySecret)) || bytes.Contains(data, []byte("puller")) {
			t.Errorf("%s holds the registry's credential", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	logs := b.logs.String()
	if strings.Contains(logs, registrySecret) {
		t.Error("the log holds the registry's secret")
	}
	for _, boot := range boots {
		if strings.Contains(logs, boot.LocalAPIToken.Reveal()) {
			t.Error("the log holds a guest's token")
		}
	}
}

func TestTheMountLeadsEnginesToTheHost(t *testing.T) {
	u := startUpstream(t)
	b := startDaemon(t, u.proxyConfig(t, registrySecret))
	boot := b.add(t, "8200")
	mount := filepath.Join(b.dir, "mounts", "8200")
	hosts, err := os.ReadFile(filepath.Join(mount, "hosts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"server = \"" + b.url + "\"", "[host.\"" + b.url + "\"]", `ca = "agent.crt"`, `Authorization = "Bearer ` + boot.LocalAPIToken.Reveal() + `"`, `["pull", "resolve"]`} {
		if !strings.Contains(string(hosts), want) {
			t.Errorf("hosts.toml lacks %s:\n%s", want, strings.ReplaceAll(string(hosts), boot.LocalAPIToken.Reveal(), "TOKEN"))
		}
	}
	certificates, err := os.ReadFile(filepath.Join(mount, "agent.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if n := bytes.Count(certificates, []byte("BEGIN CERTIFICATE")); n != 2 || !pool.AppendCertsFromPEM(certificates) {
		t.Errorf("agent.crt has %d certificates, want those of both keys", n)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = pool
	if status, body := b.do(t, &http.Client{Transport: transport}, "GET", "/v2/", boot.LocalAPIToken.Reveal(), ""); status != 200 {
		t.Errorf("as an engine checks certificates: %d %s", status, body)
	}
	for _, name := range []string{"hosts.toml", "agent.crt", "bootstrap.json"} {
		if info, err := os.Stat(filepath.Join(mount, name)); err != nil || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v, want 0640", name, info.Mode(), err)
		}
	}
	again := b.add(t, "8200")
	if rotated, err := os.ReadFile(filepath.Join(mount, "hosts.toml")); err != nil || !bytes.Contains(rotated, []byte(again.LocalAPIToken.Reveal())) || bytes.Contains(rotated, []byte(boot.LocalAPIToken.Reveal())) {
		t.Errorf("hosts.toml has not the new token: %v", err)
	}
}

func TestAWrongRegistryPasswordIsTold(t *testing.T) {
	u := startUpstream(t)
	b := startDaemon(t, u.proxyConfig(t, "wrong-secret-0815"))
	boot := b.add(t, "8200")
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(b.logs.String(), "registry check") {
		select {
		case <-deadline:
			t.Fatalf("the daemon's start does not say it:\n%s", b.logs)
		case <-tick.C:
		}
	}
	is502Final := remote.WithRetryStatusCodes(http.StatusServiceUnavailable) // the library would ask again for seconds
	for range 5 {
		if _, err := pull(t, b, boot, "team/app:v1", boot.LocalAPIToken.Reveal(), is502Final); err == nil || strings.Contains(err.Error(), "401") {
			t.Errorf("%v, want 502: the guest's own token is good", err)
		}
	}
	if n := strings.Count(b.logs.String(), `"msg":"registry"`); n != 1 {
		t.Errorf("%d lines within a minute, want one:\n%s", n, b.logs)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{program, "--config", b.config, "registry", "check"}, &stdout, &stderr)
	if code != 4 || stdout.Len() != 0 || !strings.Contains(stderr.String(), "hint:") || !strings.Contains(stderr.String(), u.host) {
		t.Errorf("registry check: %d, %q, %q", code, stdout.String(), stderr.String())
	}
	for _, text := range []string{b.logs.String(), stderr.String()} {
		if strings.Contains(text, "wrong-secret-0815") {
			t.Error("the secret is shown")
		}
	}
}

func TestRegistryCheck(t *testing.T) {
	u := startUpstream(t)
	b := startDaemon(t, u.proxyConfig(t, registrySecret))
	out := b.command(t, "registry", "check", u.host)
	if !strings.Contains(out, u.host+" works") || !strings.Contains(out, "password") || !strings.Contains(out, "/team/app:v1") {
		t.Errorf("registry check: %s", out)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{program, "--config", b.config, "registry", "check", "other.example"}, &stdout, &stderr)
	if code != 3 || !strings.Contains(stderr.String(), u.host) {
		t.Errorf("a registry that is not configured: %d %s", code, stderr.String())
	}
}
