//go:build integration

package docker

import (
	"bytes"
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/versions"
	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/internal/e2e/faultregistry"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

const page = "<!DOCTYPE html>\n<html><head><title>denied: unauthorized</title></head>\n<body>Log in\nto the network</body></html>\n"

// The parts of the registries below, under short names.
type (
	registry = faultregistry.Registry
	artifact = faultregistry.Artifact
)

const (
	typeHTML = faultregistry.TypeHTML
	typeText = faultregistry.TypeText
	typeJSON = faultregistry.TypeJSON
)

var say, problemJSON = faultregistry.Say, faultregistry.ProblemJSON

// imageOf is an image of one layer, stored as pack gives it.
func imageOf(t *testing.T, layerType string, pack func(tarball []byte) []byte) artifact {
	t.Helper()
	image, err := faultregistry.Image(layerType, pack)
	if err != nil {
		t.Fatal(err)
	}
	return image
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
	twice := []Kind{"", RegistryBusy} // containerd tries nothing again; the image step does
	if old {
		damaged, twice = []Kind{ZstdLayers}, []Kind{""}
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
	chart := artifact{Config: []byte(`{"name":"c","version":"1.0.0","apiVersion":"v2"}`), Layer: []byte("chart"), ConfigType: "application/vnd.cncf.helm.config.v1+json", LayerType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip"}
	signature := artifact{Config: []byte("{}"), Layer: []byte("{}"), ConfigType: "application/vnd.oci.empty.v1+json", LayerType: "application/vnd.dev.cosign.simplesigning.v1+json"}
	for _, test := range []struct {
		name       string
		registry   registry
		credential Credential
		want       []Kind // any of them; "": pulled
	}{
		{"login page for all", registry{Base: say(200, typeHTML, page)}, login, []Kind{NotARegistry}},
		{"page of a firewall for all", registry{Base: say(403, typeHTML, page)}, login, []Kind{NotARegistry, lost(Denied)}},
		{"text of a firewall for all", registry{Base: say(403, typeText, "denied by policy\nunauthorized")}, login, []Kind{NotARegistry, lost(Denied)}},
		{"page of a balancer for all", registry{Base: say(503, typeHTML, page)}, login, []Kind{RegistryBusy}},
		{"web server without a registry", registry{Base: say(404, typeText, "404 page not found\n")}, Credential{}, []Kind{NotARegistry, UnknownImage}},
		{"login page at the token realm", registry{WantsToken: true, Token: say(200, typeHTML, page)}, login, []Kind{NotARegistry}},
		{"login page at the token realm, no credential", registry{WantsToken: true, Token: say(200, typeHTML, page)}, Credential{}, []Kind{NotARegistry}},
		{"page 401 at the token realm", registry{WantsToken: true, Token: say(401, typeHTML, page)}, login, []Kind{NotARegistry, Credential401}},
		{"page 403 at the token realm", registry{WantsToken: true, Token: say(403, typeHTML, page)}, login, []Kind{NotARegistry, lost(Denied)}},
		{"text 403 at the token realm", registry{WantsToken: true, Token: say(403, typeText, "denied: not from this network")}, login, []Kind{NotARegistry, lost(Denied)}},
		{"page 503 at the token realm", registry{WantsToken: true, Token: say(503, typeHTML, page)}, login, []Kind{RegistryBusy}},
		{"text 429 at the token realm", registry{WantsToken: true, Token: say(429, typeText, "Too many requests. unauthorized: slow down\n")}, login, []Kind{RateLimited}},
		{"refusal of the token realm", registry{WantsToken: true, Token: say(401, typeJSON, problemJSON("UNAUTHORIZED", "incorrect username or password"))}, login, []Kind{Credential401}},
		{"page 403 for the manifest", registry{Manifest: say(403, typeHTML, page)}, login, []Kind{NotARegistry, lost(Denied)}},
		{"text 429 for the manifest", registry{Manifest: say(429, typeText, "slow down\ndenied: later")}, login, []Kind{RateLimited}},
		{"JSON 429 for the manifest", registry{Manifest: say(429, typeJSON, problemJSON("TOOMANYREQUESTS", "You have reached your pull rate limit"))}, login, []Kind{RateLimited}},
		{"policy", registry{Manifest: say(412, typeJSON, problemJSON("PROJECTPOLICYVIOLATION", "current image with 12 vulnerabilities cannot be pulled due to configured policy in 'Prevent images with vulnerability severity of \"High\"'"))}, login, []Kind{PolicyDenied}},
		{"policy of others", registry{Manifest: say(412, typeJSON, problemJSON("DENIED", "The image is not signed in Cosign."))}, login, []Kind{PolicyDenied}},
		{"expired cloud token", registry{Manifest: say(403, typeJSON, problemJSON("DENIED", "Your authorization token has expired. Reauthenticate and try again."))}, login, []Kind{Credential401}},
		{"right missing", registry{Manifest: say(403, typeJSON, problemJSON("DENIED", "requested access to the resource is denied"))}, login, []Kind{Denied}},
		{"unknown tag", registry{Manifest: say(404, typeJSON, problemJSON("MANIFEST_UNKNOWN", "manifest unknown"))}, login, []Kind{UnknownImage}},
		{"chart", registry{Artifact: chart}, login, []Kind{NotAnImage, stored}},
		{"signature", registry{Artifact: signature}, login, []Kind{NotAnImage, stored}},
		{"layer of zstd", registry{Artifact: imageOf(t, faultregistry.TypeLayer+"+zstd", zstdOf(t))}, login, []Kind{zstdKind}},
		{"two failures, then a layer", registry{Artifact: imageOf(t, faultregistry.TypeLayer, nil), Layer: faultregistry.FailTwice()}, login, twice},
		{"damaged layer", registry{Artifact: imageOf(t, faultregistry.TypeLayer, func([]byte) []byte { return bytes.Repeat([]byte("x"), 2048) })}, login, damaged},
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
