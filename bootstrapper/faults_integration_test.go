//go:build integration

package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/faultregistry"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/freeport"
	"github.com/felhom/felhom-golden/internal/soak"
)

// pullFault is a fault of a registry, of what answers in its place, or of the way
// to it.
type pullFault struct {
	name string // of the catalogue
	// registry returns the registry, its image given; nil: where says what is pulled.
	registry func(a faultregistry.Artifact) faultregistry.Registry
	where    func(t *testing.T, bed testbed.Bed, served http.Handler) (image string)
	login    bool // the guest has a credential, which is wrong
	isLong   bool // takes minutes: only with SOAK, as in "SOAK=1 make test"
	want     wantFault
}

// onLoopback serves without TLS at an address that engines take for a registry without it.
func onLoopback(t *testing.T, _ testbed.Bed, served http.Handler) string {
	server := httptest.NewServer(served)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return strings.TrimPrefix(server.URL, "http://") + "/felhom/faulty:v1"
}

// onBridge serves at an address where engines want TLS. The certificate is valid
// for that time from now; both zero: there is none.
func onBridge(from, until time.Duration) func(*testing.T, testbed.Bed, http.Handler) string {
	return func(t *testing.T, bed testbed.Bed, served http.Handler) string {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(bed.Address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		server := &httptest.Server{Listener: l, Config: &http.Server{Handler: served, ReadHeaderTimeout: time.Minute}}
		t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
		if from == until {
			server.Start()
			return l.Addr().String() + "/felhom/faulty:v1"
		}
		certificate, err := faultregistry.Certificate(bed.Address, time.Now().Add(from), time.Now().Add(until))
		if err != nil {
			t.Fatal(err)
		}
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
		return l.Addr().String() + "/felhom/faulty:v1"
	}
}

// silent accepts connections and never answers.
func silent(t *testing.T, _ testbed.Bed, _ http.Handler) string {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String() + "/felhom/faulty:v1"
}

func refused(t *testing.T, bed testbed.Bed, _ http.Handler) string {
	return freeport.Address(t, bed.Address) + "/felhom/faulty:v1"
}

// fromBed pulls an image of the bed's own registry.
func fromBed(tag string) func(*testing.T, testbed.Bed, http.Handler) string {
	return func(_ *testing.T, bed testbed.Bed, _ http.Handler) string {
		return bed.Registry + "/felhom/controller:" + tag
	}
}

func well(a faultregistry.Artifact) faultregistry.Registry {
	return faultregistry.Registry{Artifact: a}
}

func manifestAnswer(status int, code, message string) func(faultregistry.Artifact) faultregistry.Registry {
	return func(a faultregistry.Artifact) faultregistry.Registry {
		return faultregistry.Registry{Artifact: a, Manifest: faultregistry.Say(status, faultregistry.TypeJSON, faultregistry.ProblemJSON(code, message))}
	}
}

func blobAnswer(status int, code, message string) func(faultregistry.Artifact) faultregistry.Registry {
	return func(a faultregistry.Artifact) faultregistry.Registry {
		return faultregistry.Registry{Artifact: a, Blob: faultregistry.Say(status, faultregistry.TypeJSON, faultregistry.ProblemJSON(code, message))}
	}
}

func layerSent(how func(http.ResponseWriter, *http.Request, []byte)) func(faultregistry.Artifact) faultregistry.Registry {
	return func(a faultregistry.Artifact) faultregistry.Registry {
		return faultregistry.Registry{Artifact: a, Layer: how}
	}
}

func pullFaults(t *testing.T) []pullFault {
	const (
		page         = "<!DOCTYPE html>\n<html><head><title>denied: unauthorized</title></head>\n<body>Log in</body></html>\n"
		hintRefused  = "the registry refuses the credential"
		hintLimits   = "the registry limits its callers"
		hintUntimely = "compare the clocks of guest and host"
	)
	down := "http://" + freeport.Address(t, "127.0.0.1") + "/token"
	return []pullFault{
		{name: "wrong password", login: true, registry: func(a faultregistry.Artifact) faultregistry.Registry {
			return faultregistry.Registry{Artifact: a, Password: "right"}
		}, want: imageFault(4, 1, hintRefused, "unauthorized|401 Unauthorized")},
		{name: "no credential", registry: func(a faultregistry.Artifact) faultregistry.Registry {
			return faultregistry.Registry{Artifact: a, Password: "right"}
		}, want: imageFault(4, 1, "the registry wants a credential", "no basic auth credentials")},
		{name: "token server refuses", login: true, registry: func(a faultregistry.Artifact) faultregistry.Registry {
			return faultregistry.Registry{Artifact: a, WantsToken: true, Token: faultregistry.Say(401, faultregistry.TypeJSON, faultregistry.ProblemJSON("UNAUTHORIZED", "token expired"))}
		}, want: imageFault(4, 1, hintRefused, "token expired|401 Unauthorized")},
		{name: "token server down", login: true, registry: func(a faultregistry.Artifact) faultregistry.Registry {
			return faultregistry.Registry{Artifact: a, WantsToken: true, Realm: down}
		}, want: imageFault(5, 0, hintUnreachable, "connection refused")},
		{name: "access denied", login: true, registry: manifestAnswer(403, "DENIED", "requested access to the resource is denied"), want: imageFault(4, 1, "no right to read this repository", "denied|403 Forbidden")},
		{name: "unknown tag", registry: manifestAnswer(404, "MANIFEST_UNKNOWN", "manifest unknown"), want: imageFault(1, 3, "the registry has no such image", "manifest unknown|not found")},
		{name: "other architecture in an index", where: fromBed("otherarch-index"), want: imageFault(3, 1, "build and push the image", "no matching manifest|no match for platform")},
		{name: "other architecture", where: fromBed("otherarch"), want: imageFault(3, 1, "build and push the image", "this guest is linux/")},
		{name: "connection refused", where: refused, want: imageFault(5, 0, hintUnreachable, "connection refused")},
		// connect(2) refuses a broadcast address as one without a route.
		{name: "network down", where: func(*testing.T, testbed.Bed, http.Handler) string { return "255.255.255.255:5000/felhom/faulty:v1" }, want: imageFault(5, 0, hintUnreachable, "network is unreachable")},
		{name: "unknown authority", registry: well, where: onBridge(-time.Hour, time.Hour), want: imageFault(4, 1, "put the authority's certificate", "x509:")},
		{name: "certificate not yet valid", registry: well, where: onBridge(time.Hour, 2*time.Hour), want: imageFault(5, 0, hintUntimely, "expired or is not yet valid")},
		{name: "certificate expired", registry: well, where: onBridge(-2*time.Hour, -time.Hour), want: imageFault(5, 0, hintUntimely, "expired or is not yet valid")},
		{name: "plain HTTP", registry: well, where: onBridge(0, 0), want: imageFault(1, 1, "speaks HTTP without TLS", "HTTP response to HTTPS client")},
		{name: "rate limit on the manifest", registry: manifestAnswer(429, "TOOMANYREQUESTS", "slow down"), want: imageFault(5, 0, hintLimits, "toomanyrequests|429 Too Many Requests")},
		{name: "rate limit on a blob", registry: blobAnswer(429, "TOOMANYREQUESTS", "You have reached your pull rate limit"), want: imageFault(5, 0, hintLimits, "pull rate limit|429")},
		{name: "registry unavailable", registry: manifestAnswer(503, "UNAVAILABLE", "not now"), want: imageFault(5, 0, hintLimits, "503")},
		{name: "registry error on a blob", registry: blobAnswer(500, "UNKNOWN", "no"), want: imageFault(5, 0, hintLimits, "500|error from registry: no")},
		{name: "blob missing", registry: blobAnswer(404, "BLOB_UNKNOWN", "unknown blob"), want: imageFault(1, 1, "the registry lost a part of this image", "unknown blob|could not fetch content descriptor")},
		{name: "captive portal", login: true, registry: func(a faultregistry.Artifact) faultregistry.Registry {
			return faultregistry.Registry{Artifact: a, Base: faultregistry.Say(200, faultregistry.TypeHTML, page)}
		}, want: imageFault(5, 3, "something that is not a registry answers", "<|text/html")},
		{name: "corrupt layer", registry: layerSent(faultregistry.Corrupt), want: imageFault(4, 3, "a layer arrived with another digest", "verification failed|unexpected commit digest")},
		// It ends by the engine's limit of 15 s for each of several requests.
		{name: "silent registry", isLong: true, where: silent, want: imageFault(5, 0, hintUnreachable, "timeout|Timeout|deadline exceeded")},
		// Engines up to 28 try these again for a minute before they fail.
		{name: "truncated layer", isLong: true, registry: layerSent(faultregistry.Truncated), want: imageFault(5, 0, hintUnreachable, "EOF|HTTP 206")},
		{name: "reset in a layer", isLong: true, registry: layerSent(faultregistry.Reset), want: imageFault(5, 0, hintUnreachable, "reset|EOF|HTTP 206")},
		{name: "stalled layer", isLong: true, registry: layerSent(faultregistry.Stalled), want: imageFault(5, 0, hintUnreachable, "no byte arrived")},
	}
}

// TestFaultsOfRegistries has the bed's engine pull from registries that fail, each
// for a guest of its own, while another guest's controller runs.
func TestFaultsOfRegistries(t *testing.T) {
	running, bed, engine := realGuest(t)
	running.want(0, nil)
	before := inspect(t, engine, controllerName)
	t.Run("faults", func(t *testing.T) {
		for _, f := range pullFaults(t) {
			if f.isLong && !soak.IsLong() {
				continue
			}
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.check(t, bed)
			})
		}
	})
	after := inspect(t, engine, controllerName)
	if after.ID != before.ID || !after.State.Running || after.State.StartedAt != before.State.StartedAt {
		t.Errorf("before %s, after %s running %v: what ran must run", before.ID, after.ID, after.State.Running)
	}
}

func (f pullFault) check(t *testing.T, bed testbed.Bed) {
	root := filepath.Join(bed.Dir, bed.TestID(t))
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	var served http.Handler
	if f.registry != nil {
		artifact, err := faultregistry.Image(faultregistry.TypeLayer, nil)
		if err != nil {
			t.Fatal(err)
		}
		served = f.registry(artifact)
	}
	where := f.where
	if where == nil {
		where = onLoopback
	}
	image := where(t, bed, served)
	t.Cleanup(func() { forget(t, bed.Engine(t), image) })
	g := newGuest(t, root, bed.DockerHost)
	host, _, _ := strings.Cut(image, "/")
	login := map[string]string{"host": host, "username": "u", "token": wrongPassword}
	if host == bed.Registry {
		token, err := bed.Token()
		if err != nil {
			t.Fatal(err)
		}
		login = map[string]string{"host": host, "username": bed.Username, "token": token}
	}
	g.set("controller_image", image)
	if f.login || host == bed.Registry {
		g.set("registry", login)
	}
	patience := "2s"
	if f.want.tries != 0 {
		patience = "2m" // the tries are counted
	}
	g.assertFault(f.want, "--pull-patience", patience)
}

// TestEveryFaultOfTheCatalogue: no row of the catalogue is without a test.
func TestEveryFaultOfTheCatalogue(t *testing.T) {
	tried := []string{"invalid reference", "engine of another user"} // a test of their own each
	for _, f := range fakedFaults() {
		tried = append(tried, f.name)
	}
	for _, f := range engineFaults {
		tried = append(tried, f.name)
	}
	for _, f := range pullFaults(t) {
		tried = append(tried, f.name)
	}
	for _, f := range faultsBesideWhatRan {
		tried = append(tried, f.name)
	}
	for _, name := range faultCatalogue {
		if !slices.Contains(tried, name) {
			t.Errorf("%s: no test provokes it", name)
		}
	}
}
