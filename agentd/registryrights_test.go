package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startTokenUpstream is a registry with a token server that gives the holder of
// the password these rights, whatever is asked for.
func startTokenUpstream(t *testing.T, actions ...string) *upstream {
	t.Helper()
	claims, err := json.Marshal(map[string]any{"access": []any{map[string]any{"type": "repository", "name": "team/app", "actions": actions}}})
	if err != nil {
		t.Fatal(err)
	}
	token := "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2ln"
	u := &upstream{ca: filepath.Join(t.TempDir(), "ca.pem")}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, secret, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && secret == registrySecret:
			_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="s"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	u.host = strings.TrimPrefix(server.URL, "https://")
	if err := os.WriteFile(u.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return u
}

// The operator is told of a credential that can do more than pull, by the
// command and at the start of the daemon; a wrong one is found although no
// image of the registry is named by its tag.
func TestRegistryCheckOfRights(t *testing.T) {
	for name, c := range map[string]struct {
		actions []string
		secret  string
		code    int
		warns   bool
	}{
		"can push":       {[]string{"pull", "push"}, registrySecret, 0, true},
		"can delete":     {[]string{"pull", "delete"}, registrySecret, 0, true},
		"can pull alone": {[]string{"pull"}, registrySecret, 0, false},
		"is wrong":       {[]string{"pull"}, "wrong-secret-0815", 4, false},
	} {
		t.Run(name, func(t *testing.T) {
			u := startTokenUpstream(t, c.actions...)
			conf := strings.Replace(u.proxyConfig(t, c.secret), u.host+"/team/app:v1", u.host+"/team/app", 1)
			b := newBed(t, conf)
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), []string{program, "--config", b.config, "registry", "check"}, &stdout, &stderr)
			if code != c.code || (stdout.Len() > 0) != (c.code == 0) || strings.Contains(stderr.String(), "more than pull") != c.warns {
				t.Errorf("%d, want %d; want a warning: %v\n%s%s", code, c.code, c.warns, stdout.String(), stderr.String())
			}
			if c.code == 0 && !c.warns {
				return // the daemon says nothing of it
			}
			b.serve(t)
			want := "can do more than pull"
			if c.code != 0 {
				want = "a registry does not work for guests"
			}
			b.says(t, want)
		})
	}
}

// A guest whose tokens are revoked loses the transfer that is under way; another
// guest's continues to its end.
func TestARevokedTokenCutsAPull(t *testing.T) {
	rest := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return
		}
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-rest:
			_, _ = io.WriteString(w, "}")
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "https://")
	b := startDaemon(t, fmt.Sprintf("registry_access: proxy\nregistries: [{host: %q, ca_file: %s}]\nrepositories: [%q]\n", host, ca, host+"/team/app"))
	begin := func(vmid string) io.ReadCloser {
		t.Helper()
		boot := b.add(t, vmid)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/v2/team/app/blobs/"+ownBlob, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+boot.LocalAPIToken.Reveal())
		res, err := client(t, boot).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		first := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, first); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("guest %s: %s, %v\n%s", vmid, res.Status, err, b.daemon)
		}
		return res.Body
	}
	revoked, other := begin("8200"), begin("8201")
	b.command(t, "guest", "revoke", "8200")
	if more, err := io.ReadAll(revoked); err == nil || len(more) > 0 {
		t.Errorf("the revoked guest gets %q, %v, want an end", more, err)
	}
	close(rest)
	if more, err := io.ReadAll(other); err != nil || string(more) != "}" {
		t.Errorf("the other guest gets %q, %v, want the rest", more, err)
	}
	b.says(t, "no longer valid")
}

// says waits until the daemon's log holds a text.
func (b *bed) says(t *testing.T, want string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(b.daemon.String(), want); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the daemon does not say %q:\n%s", want, b.daemon)
		}
	}
}
