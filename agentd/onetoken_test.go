package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// permissive is a registry that answers everything, and notes what it was asked for.
type permissive struct {
	host, ca string

	mu   sync.Mutex
	seen []string
}

const (
	ownManifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`
	ownBlob   = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // of "{}"
	otherBlob = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	ofOthers  = "what-belongs-to-other-guests"
)

func startPermissive(t *testing.T) *permissive {
	t.Helper()
	p := &permissive{ca: filepath.Join(t.TempDir(), "ca.pem")}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.Method+" "+r.RequestURI)
		p.mu.Unlock()
		switch r.URL.Path {
		case "/v2/":
		case "/v2/team/app/manifests/v1":
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = io.WriteString(w, ownManifest)
		case "/v2/team/app/blobs/" + ownBlob:
			_, _ = io.WriteString(w, "{}")
		default:
			_, _ = io.WriteString(w, ofOthers)
		}
	}))
	t.Cleanup(server.Close)
	p.host = strings.TrimPrefix(server.URL, "https://")
	if err := os.WriteFile(p.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// take returns what the registry was asked for since the last call.
func (p *permissive) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

// await waits until the registry was asked for what, and forgets what was asked until then.
func (p *permissive) await(t *testing.T, what string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var all []string
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		if all = append(all, p.take()...); slices.Contains(all, what) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the registry was not asked for %s, but for %q", what, all)
		}
	}
}

// raw sends bytes over one connection, and returns all that comes back.
func raw(ctx context.Context, addr, request string) (string, error) {
	conn, err := connect(ctx, "127.0.0.1", addr, false)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, request)
		sent <- err
	}()
	answer, err := io.ReadAll(conn)
	if sendErr := <-sent; len(answer) == 0 {
		err = errors.Join(err, sendErr)
	} else {
		err = nil // a refusal may come while the rest is sent
	}
	return string(answer), err
}

// TestOneTokenReachesNoOtherImages has a guest with a valid token that may pull
// one image, team/app:v1, and that writes its requests by hand: whatever their
// form is, nothing of another repository is asked for at the registry, and
// nothing of it comes back.
func TestOneTokenReachesNoOtherImages(t *testing.T) {
	up := startPermissive(t)
	b := startDaemon(t, fmt.Sprintf("registry_access: proxy\nregistries: [{host: %q, ca_file: %s}]\nrepositories: [%q]\n", up.host, up.ca, up.host+"/team/app:v1"))
	addr := strings.TrimPrefix(b.url, "https://")
	token, other := b.add(t, "8200").LocalAPIToken.Reveal(), b.add(t, "8201").LocalAPIToken.Reveal()
	own, others := "/v2/team/app/manifests/v1", "/v2/team/secret/manifests/v1"
	up.await(t, "GET "+own) // the last request of the check that runs beside the start
	head := "Host: " + addr + "\r\nAuthorization: Bearer " + token + "\r\n"
	last := "GET /guest HTTP/1.1\r\n" + head + "Connection: close\r\n\r\n" // the connection ends with it
	get := func(target, more string) string { return "GET " + target + " HTTP/1.1\r\n" + head + more + "\r\n" }
	inner := get(others, "")
	cases := map[string]struct {
		request string
		status  int // of the first answer
		asks    bool
	}{
		"its image":                    {get(own, ""), 200, true},
		"its blob, in part":            {get("/v2/team/app/blobs/"+ownBlob, "Range: bytes=0-0\r\n"), 200, true}, // the registry knows no ranges
		"absolute form":                {get("https://"+addr+own, ""), 200, true},
		"another repository":           {get(others, ""), 403, false},
		"its absolute form":            {get("https://"+addr+others, ""), 403, false},
		"a blob of another image":      {get("/v2/team/app/blobs/"+otherBlob, ""), 403, true}, // the tag may be looked up
		"in part":                      {get("/v2/team/app/blobs/"+otherBlob, "Range: bytes=0-9\r\n"), 403, true},
		"in parts":                     {get("/v2/team/app/blobs/"+otherBlob, "Range: bytes=0-1,3-4\r\nRange: bytes=0-\r\n"), 403, true},
		"another tag":                  {get("/v2/team/app/manifests/v2", ""), 403, false},
		"a digest":                     {get("/v2/team/app/manifests/"+otherBlob, ""), 403, true},
		"the registry in the target":   {get("https://"+up.host+others, ""), 421, false},
		"a user name in the target":    {get("https://"+addr+"@"+up.host+others, ""), 421, false},
		"a proxy's target":             {"CONNECT " + up.host + " HTTP/1.1\r\n" + head + "\r\n", 421, false},
		"the registry as host":         {"GET " + own + " HTTP/1.1\r\nHost: " + up.host + "\r\nAuthorization: Bearer " + token + "\r\n\r\n", 421, false},
		"two hosts":                    {get(own, "Host: "+up.host+"\r\n"), 400, false},
		"X-Forwarded-Host":             {get(own, "X-Forwarded-Host: "+up.host+"\r\n"), 400, false},
		"X-Original-URL":               {get(own, "X-Original-URL: "+others+"\r\nX-Rewrite-URL: "+others+"\r\n"), 200, true},
		"X-HTTP-Method-Override":       {get(own, "X-HTTP-Method-Override: DELETE\r\n"), 200, true},
		"another namespace":            {get(own+"?ns=evil.example", ""), 403, false},
		"two namespaces":               {get(own+"?ns="+up.host+"&ns=evil.example", ""), 200, true},
		"namespace with a path":        {get("/v2/secret/manifests/v1?ns="+up.host+"/team", ""), 403, false},
		"dots":                         {get("/v2/team/app/../secret/manifests/v1", ""), 404, false},
		"encoded dots":                 {get("/v2/team/app/%2e%2e/secret/manifests/v1", ""), 404, false},
		"encoded slash":                {get("/v2/team/app%2f..%2fsecret/manifests/v1", ""), 404, false},
		"encoded twice":                {get("/v2/team/app%252f..%252fsecret/manifests/v1", ""), 404, false},
		"encoded letter":               {get("/v2/team/%61pp/manifests/v1", ""), 404, false},
		"overlong":                     {get("/v2/team/app/%c0%ae%c0%ae/secret/manifests/v1", ""), 404, false},
		"backslash":                    {get(`/v2/team/app/..\secret/manifests/v1`, ""), 404, false},
		"two slashes first":            {get("//v2/team/secret/manifests/v1", ""), 404, false},
		"a fragment":                   {get(own+"#/../../secret", ""), 404, false},
		"a parameter":                  {get(own+";/../../secret/manifests/v1", ""), 404, false},
		"end of a string":              {get(own+"%00/../secret", ""), 404, false},
		"line in the target":           {get(own+"%0d%0aX:%20y", ""), 404, false},
		"a list":                       {get("/v2/_catalog?n=100", ""), 404, false},
		"tags":                         {get("/v2/team/app/tags/list", ""), 404, false},
		"an upload":                    {"POST /v2/team/app/blobs/uploads/?mount=" + otherBlob + "&from=team/secret HTTP/1.1\r\n" + head + "Content-Length: 0\r\n\r\n", 405, false},
		"a body with a request":        {get(own, fmt.Sprintf("Content-Length: %d\r\n", len(inner))) + inner, 400, false},
		"chunks with a request":        {get(own, "Transfer-Encoding: chunked\r\n") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner), 400, false},
		"length and chunks":            {get(own, fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", len(inner)+5)) + "0\r\n\r\n" + inner, 400, false},
		"chunked twice":                {get(own, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n" + inner, 501, false},
		"chunked, identity":            {get(own, "Transfer-Encoding: chunked, identity\r\n") + "0\r\n\r\n" + inner, 501, false},
		"chunked with a tab":           {get(own, "Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n" + inner, 400, false},
		"space before the colon":       {get(own, "Transfer-Encoding : chunked\r\n") + "0\r\n\r\n" + inner, 400, false},
		"two lengths":                  {get(own, "Content-Length: 0\r\nContent-Length: 5\r\n") + inner, 400, false},
		"a signed length":              {get(own, "Content-Length: +5\r\n") + inner, 400, false},
		"a folded header":              {get(own, "X: y\r\n Content-Length: 5\r\n"), 200, true},
		"trailers":                     {get(own, "Trailer: Authorization\r\nTransfer-Encoding: chunked\r\n") + "0\r\nAuthorization: Bearer " + other + "\r\n\r\n", 400, false},
		"an expectation":               {get(own, "Expect: 100-continue\r\n"), 200, true},
		"an expectation with a body":   {get(own, "Expect: 100-continue\r\nContent-Length: 5\r\n"), 400, false},
		"an upgrade":                   {get(own, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), 200, true},
		"a hop's headers":              {get(own, "Connection: Authorization, Host\r\n"), 200, true},
		"two tokens":                   {get(own, "Authorization: Bearer "+other+"\r\n"), 401, false},
		"many headers":                 {get(own, strings.Repeat("X: y\r\n", 4000)), 431, false},
		"two requests at once":         {get(own, "") + inner, 200, true},
		"requests of two guests":       {get(own, "") + strings.ReplaceAll(inner, token, other), 200, true},
		"HTTP/1.0 with a body":         {"GET " + own + " HTTP/1.0\r\n" + head + "Content-Length: 5\r\n\r\nxxxxx", 400, false},
		"HTTP/0.9":                     {"GET " + others + "\r\n\r\n", 400, false},
		"a lone line feed in a header": {"GET " + own + " HTTP/1.1\n" + head + "X: y\n\n", 200, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := raw(t.Context(), addr, c.request+last)
			if err != nil {
				t.Fatal(err)
			}
			minor := 1
			if strings.Contains(c.request, " HTTP/1.0\r\n") {
				minor = 0
			}
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.%d %d ", minor, c.status)) {
				t.Errorf("%.300s, want status %d", got, c.status)
			}
			if strings.Contains(got, ofOthers) {
				t.Errorf("the guest gets what it may not pull: %.1000s", got)
			}
			for _, request := range up.take() {
				if !c.asks {
					t.Errorf("the registry was asked for %s", request)
				}
				if request != "GET "+own && request != "GET /v2/team/app/blobs/"+ownBlob {
					t.Errorf("the registry was asked for %s, which the guest may not pull", request)
				}
			}
		})
	}
}
