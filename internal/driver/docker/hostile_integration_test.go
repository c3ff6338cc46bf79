//go:build integration

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/versions"
	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

const (
	page     = "<!DOCTYPE html>\n<html><head><title>denied: unauthorized</title></head>\n<body>Log in\nto the network</body></html>\n"
	typeHTML = "text/html; charset=utf-8"
	typeText = "text/plain"
	typeJSON = "application/json"

	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// answer is what the registry, or what is before it, says.
type answer struct {
	status int
	kind   string // Content-Type
	body   string
}

func problemJSON(code, message string) string {
	data, _ := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
	return string(data)
}

// registry answers as it is told, and as a registry with one image else.
type registry struct {
	base, token, manifest *answer // nil: as a registry does
	wantsToken            bool
	artifact              artifact
}

type artifact struct {
	config, layer         []byte
	configType, layerType string
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (a artifact) index() []byte {
	part := func(kind string, data []byte) map[string]any {
		return map[string]any{"mediaType": kind, "digest": digestOf(data), "size": len(data)}
	}
	data, _ := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest,
		"config": part(a.configType, a.config), "layers": []any{part(a.layerType, a.layer)},
	})
	return data
}

func (g registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	say := func(a *answer) {
		w.Header().Set("Content-Type", a.kind)
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body)) // the engine might not read all of it
	}
	blob := func(data []byte) {
		w.Header().Set("Docker-Content-Digest", digestOf(data))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
	switch path := r.URL.Path; {
	case path == "/token" && g.token != nil:
		say(g.token)
	case path == "/token":
		say(&answer{200, typeJSON, `{"token":"t","access_token":"t","expires_in":300}`})
	case g.base != nil:
		say(g.base)
	case g.wantsToken && r.Header.Get("Authorization") == "":
		w.Header().Set("Www-Authenticate", fmt.Sprintf("Bearer realm=%q,service=%q", "http://"+r.Host+"/token", r.Host))
		say(&answer{401, typeJSON, problemJSON("UNAUTHORIZED", "authentication required")})
	case path == "/v2/":
		say(&answer{200, typeJSON, "{}"})
	case strings.Contains(path, "/manifests/") && g.manifest != nil:
		say(g.manifest)
	case strings.Contains(path, "/manifests/"):
		w.Header().Set("Content-Type", typeManifest)
		blob(g.artifact.index())
	case strings.HasSuffix(path, digestOf(g.artifact.config)):
		blob(g.artifact.config)
	case strings.HasSuffix(path, digestOf(g.artifact.layer)):
		blob(g.artifact.layer)
	default:
		say(&answer{404, typeJSON, problemJSON("BLOB_UNKNOWN", "unknown blob")})
	}
}

// imageOf is an image of one layer, stored as pack gives it.
func imageOf(t *testing.T, layerType string, pack func(tarball []byte) []byte) artifact {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	// Another content each time: engines keep layers that they know.
	content := fmt.Append(nil, t.Name(), time.Now().UnixNano())
	if err := w.WriteHeader(&tar.Header{Name: "a", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer.Bytes())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return artifact{config, pack(layer.Bytes()), typeConfig, layerType}
}

func zstdOf(t *testing.T) func([]byte) []byte {
	return func(data []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return w.EncodeAll(data, nil)
	}
}

// TestAnswersOfOtherServers has the bed's engine pull from registries, and from what
// answers in their place, that say what was seen in the field.
func TestAnswersOfOtherServers(t *testing.T) {
	bed := testbed.FromEnv(t)
	c, err := New(bed.DockerHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	engine, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := versions.LessThan(engine.API, zstdAPI)
	zstdKind := Kind("") // pulled
	if old {
		zstdKind = ZstdLayers
	}
	damaged := []Kind{BadLayer, Unknown}
	if old {
		damaged = []Kind{ZstdLayers}
	}
	// Engines drop some pages, 29 each that it asks for by HEAD: where only the status is left, the
	// image step has ProbeRegistry tell the two apart.
	lost := func(kind Kind) Kind {
		if old {
			return NotARegistry
		}
		return kind
	}
	// The store of containerd takes any artifact. It has no platform then, which the image step refuses.
	stored := NotAnImage
	if !versions.LessThan(engine.API, "1.48") {
		stored = ""
	}
	login := Credential{Username: "u", Password: "not-a-real-password"}
	chart := artifact{[]byte(`{"name":"c","version":"1.0.0","apiVersion":"v2"}`), []byte("chart"), "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"}
	signature := artifact{[]byte("{}"), []byte("{}"), "application/vnd.oci.empty.v1+json", "application/vnd.dev.cosign.simplesigning.v1+json"}
	for _, test := range []struct {
		name       string
		registry   registry
		credential Credential
		want       []Kind // any of them; "": pulled
	}{
		{"login page for all", registry{base: &answer{200, typeHTML, page}}, login, []Kind{NotARegistry}},
		{"page of a firewall for all", registry{base: &answer{403, typeHTML, page}}, login, []Kind{NotARegistry, lost(Denied)}},
		{"text of a firewall for all", registry{base: &answer{403, typeText, "denied by policy\nunauthorized"}}, login, []Kind{NotARegistry, lost(Denied)}},
		{"page of a balancer for all", registry{base: &answer{503, typeHTML, page}}, login, []Kind{RegistryBusy}},
		{"web server without a registry", registry{base: &answer{404, typeText, "404 page not found\n"}}, Credential{}, []Kind{NotARegistry, UnknownImage}},
		{"login page at the token realm", registry{wantsToken: true, token: &answer{200, typeHTML, page}}, login, []Kind{NotARegistry}},
		{"login page at the token realm, no credential", registry{wantsToken: true, token: &answer{200, typeHTML, page}}, Credential{}, []Kind{NotARegistry}},
		{"page 401 at the token realm", registry{wantsToken: true, token: &answer{401, typeHTML, page}}, login, []Kind{NotARegistry, Credential401}},
		{"page 403 at the token realm", registry{wantsToken: true, token: &answer{403, typeHTML, page}}, login, []Kind{NotARegistry, lost(Denied)}},
		{"text 403 at the token realm", registry{wantsToken: true, token: &answer{403, typeText, "denied: not from this network"}}, login, []Kind{NotARegistry, lost(Denied)}},
		{"page 503 at the token realm", registry{wantsToken: true, token: &answer{503, typeHTML, page}}, login, []Kind{RegistryBusy}},
		{"text 429 at the token realm", registry{wantsToken: true, token: &answer{429, typeText, "Too many requests. unauthorized: slow down\n"}}, login, []Kind{RateLimited}},
		{"refusal of the token realm", registry{wantsToken: true, token: &answer{401, typeJSON, problemJSON("UNAUTHORIZED", "incorrect username or password")}}, login, []Kind{Credential401}},
		{"page 403 for the manifest", registry{manifest: &answer{403, typeHTML, page}}, login, []Kind{NotARegistry, lost(Denied)}},
		{"text 429 for the manifest", registry{manifest: &answer{429, typeText, "slow down\ndenied: later"}}, login, []Kind{RateLimited}},
		{"JSON 429 for the manifest", registry{manifest: &answer{429, typeJSON, problemJSON("TOOMANYREQUESTS", "You have reached your pull rate limit")}}, login, []Kind{RateLimited}},
		{"policy", registry{manifest: &answer{412, typeJSON, problemJSON("PROJECTPOLICYVIOLATION", "current image with 12 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of \"High\"'")}}, login, []Kind{PolicyDenied}},
		{"policy of others", registry{manifest: &answer{412, typeJSON, problemJSON("DENIED", "The image is not signed in Cosign.")}}, login, []Kind{PolicyDenied}},
		{"expired cloud token", registry{manifest: &answer{403, typeJSON, problemJSON("DENIED", "Your authorization token has expired. Reauthenticate and try again.")}}, login, []Kind{Credential401}},
		{"right missing", registry{manifest: &answer{403, typeJSON, problemJSON("DENIED", "requested access to the resource is denied")}}, login, []Kind{Denied}},
		{"unknown tag", registry{manifest: &answer{404, typeJSON, problemJSON("MANIFEST_UNKNOWN", "manifest unknown")}}, login, []Kind{UnknownImage}},
		{"chart", registry{artifact: chart}, login, []Kind{NotAnImage, stored}},
		{"signature", registry{artifact: signature}, login, []Kind{NotAnImage, stored}},
		{"layer of zstd", registry{artifact: imageOf(t, typeLayer+"+zstd", zstdOf(t))}, login, []Kind{zstdKind}},
		{"damaged layer", registry{artifact: imageOf(t, typeLayer, func([]byte) []byte { return bytes.Repeat([]byte("x"), 2048) })}, login, damaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// Engines take an address of the loopback for a registry without TLS.
			server := httptest.NewServer(test.registry)
			t.Cleanup(server.Close)
			ref := strings.TrimPrefix(server.URL, "http://") + "/felhom/strange:v1"
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			t.Cleanup(func() { _ = bed.Engine(t).RemoveImage(context.Background(), ref) }) // most were never pulled
			err := c.Pull(ctx, ref, test.credential, nil)
			got := Kind("")
			if err != nil {
				got = KindOf(err)
				if strings.ContainsAny(err.Error(), "\n\r") {
					t.Errorf("the message is of several lines: %q", err)
				}
				if strings.Contains(err.Error(), test.credential.Password) && test.credential != (Credential{}) {
					t.Errorf("the password is in the message: %v", err)
				}
			}
			if !slices.Contains(test.want, got) {
				t.Errorf("kind %q, want one of %q: %v", got, test.want, err)
			}
		})
	}
}
