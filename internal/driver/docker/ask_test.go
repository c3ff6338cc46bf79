package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	registrytypes "github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"
)

// clientOf returns a client of an engine that answers by answer.
func clientOf(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := New("tcp://" + server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// says answers with the JSON of a value of the client library.
func says(t *testing.T, value any) http.HandlerFunc {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }
}

// The answers are written by the library's types, which have the engine's names of
// all fields.
func TestAnswersAreThoseOfTheLibrary(t *testing.T) {
	c := clientOf(t, says(t, container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: "0123", Name: "/app", Image: "sha256:1", Created: "2026-01-02T03:04:05Z", RestartCount: 3,
			State: &container.State{
				Status: "exited", ExitCode: 7, Error: "no", StartedAt: "2026-01-02T03:04:06.5Z",
				Health: &container.Health{Status: "unhealthy", Log: []*container.HealthcheckResult{{Output: "old"}, {ExitCode: 1, Output: "new"}}},
			},
		},
		Config: &container.Config{Image: "registry.example/app:1", Labels: map[string]string{"a": "b"}},
	}))
	got, err := c.Container(t.Context(), "app")
	want := Container{
		ID: "0123", Name: "app", Image: "registry.example/app:1", ImageID: "sha256:1", Created: "2026-01-02T03:04:05Z", Labels: map[string]string{"a": "b"},
		Status: "exited", Health: "unhealthy", HealthSays: "new", Restarts: 3, ExitCode: 7, Error: "no", StartedAt: time.Date(2026, 1, 2, 3, 4, 6, 5e8, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("container, %v (- want, + got):\n%s", err, diff)
	}

	c = clientOf(t, says(t, struct {
		image.InspectResponse
		Config     container.Config // in place of the library's, which has a type of another module
		Descriptor struct{}
	}{
		InspectResponse: image.InspectResponse{ID: "sha256:1", Architecture: "amd64", Os: "linux", Size: 9, RepoTags: []string{"app:1"}, RepoDigests: []string{"app@sha256:2"}},
		Config: container.Config{
			ExposedPorts: nat.PortSet{"80/tcp": {}, "9/udp": {}},
			Healthcheck:  &container.HealthConfig{Test: []string{"CMD"}, Interval: 1, StartPeriod: 2, StartInterval: 3, Retries: 4},
		},
	}))
	img, err := c.Image(t.Context(), "app:1")
	wantImage := Image{
		ID: "sha256:1", Manifests: []string{"sha256:2"}, Containerd: true, Architecture: "amd64", OS: "linux", Size: 9,
		Health: &Health{1, 2, 3, 4}, Ports: []string{"9/udp", "80/tcp"},
	}
	if diff := cmp.Diff(wantImage, img); diff != "" || err != nil {
		t.Errorf("image, %v (- want, + got):\n%s", err, diff)
	}
}

func TestAnswersAboutTheEngine(t *testing.T) {
	_, private, err := net.ParseCIDR("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	full := system.Info{
		ServerVersion: "29.1.0", DockerRootDir: "/data", DriverStatus: [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}},
		DefaultAddressPools: []system.NetworkAddressPool{{Base: "10.9.0.1/16", Size: 24}},
		RegistryConfig: &registrytypes.ServiceConfig{
			IndexConfigs: map[string]*registrytypes.IndexInfo{
				"plain.example": {Secure: false}, "mirrored.example": {Secure: true, Mirrors: []string{"m"}}, "secure.example": {Secure: true},
			},
			InsecureRegistryCIDRs: []*registrytypes.NetIPNet{(*registrytypes.NetIPNet)(private)},
		},
	}
	info := says(t, full)
	networks := says(t, []network.Inspect{
		{Name: "bridge", Driver: "bridge", IPAM: network.IPAM{Config: []network.IPAMConfig{{Subnet: "172.17.0.0/16"}}}},
		{Name: "lan", Driver: "macvlan", IPAM: network.IPAM{Config: []network.IPAMConfig{{Subnet: "192.0.2.0/24"}}}},
	})
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/networks") {
			networks(w, r)
			return
		}
		info(w, r)
	})
	subnets, err := c.Subnets(t.Context())
	want := []Subnet{{"bridge", netip.MustParsePrefix("172.17.0.0/16")}, {"", netip.MustParsePrefix("10.9.0.0/16")}}
	if diff := cmp.Diff(want, subnets, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || err != nil {
		t.Errorf("subnets, %v (- want, + got):\n%s", err, diff)
	}
	if roots, err := c.ImageRoots(t.Context()); err != nil || !cmp.Equal(roots, []string{containerdRoot, "/data"}) {
		t.Errorf("roots %q, %v", roots, err)
	}
	if reads, err := c.ReadsHostsFile(t.Context()); err != nil || !reads {
		t.Errorf("reads hosts.toml: %v, %v, want true", reads, err)
	}
	for host, want := range map[string]bool{"plain.example": false, "mirrored.example": false, "127.0.0.1:5000": false, "198.51.100.1": true} {
		if got := c.ReachesDirectly(t.Context(), host); got != want {
			t.Errorf("reaches %s directly: %v, want %v", host, got, want)
		}
	}
	full.HTTPSProxy = "http://proxy.example"
	if clientOf(t, says(t, full)).ReachesDirectly(t.Context(), "198.51.100.1") {
		t.Error("reaches a registry directly, although there is a proxy")
	}
}

func TestFailedAnswers(t *testing.T) {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); _, _ = io.WriteString(w, body) }
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		kind   Kind
		words  string
	}{
		{"message", status(500, `{"message":"no space left on device"}`), DiskFull, "inspect container app: no space left on device"},
		{"text", status(500, "broken\n"), Unknown, "inspect container app: broken"},
		{"page", status(502, "<html><body>bad gateway"), NotARegistry, "bad gateway"},
		{"nothing", status(500, ""), RegistryBusy, "500 Internal Server Error"},
		{"redirect", status(304, ""), Unknown, "304 Not Modified"},
		{"old API", status(400, `{"message":"client version 1.41 is too old. Minimum supported API version is 1.44"}`), APIVersion, "is too old"},
		{"cut short", status(200, `{"Id":"01`), EngineGone, "unexpected EOF"},
		{"not an object", status(200, `[]`), Unknown, "cannot unmarshal array"},
		{"without end", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"Id":"`)
			_, _ = io.WriteString(w, strings.Repeat("x", maxAnswer))
		}, Unknown, "exceeds the limit"},
		{"connection closed", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, EngineAbsent, "cannot connect to the engine at tcp://"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := clientOf(t, test.answer).Container(t.Context(), "app")
			if KindOf(err) != test.kind || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v of kind %s, want %q of kind %s", err, KindOf(err), test.words, test.kind)
			}
		})
	}
	gone := clientOf(t, status(404, `{"message":"No such container: app"}`))
	if _, err := gone.Container(t.Context(), "app"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want %v", err, ErrNotFound)
	}
	if _, err := gone.Image(t.Context(), "app"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want %v", err, ErrNotFound)
	}
	if _, err := gone.Container(t.Context(), ""); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want one about the empty name", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gone.Container(ended, "app"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	absent, err := New("unix://" + filepath.Join(t.TempDir(), "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := absent.Container(t.Context(), "app"); KindOf(err) != EngineAbsent {
		t.Errorf("error %v of kind %s, want %s", err, KindOf(err), EngineAbsent)
	}
}

// A name may have characters that a URL gives a meaning.
func TestNamesAreOnePathOfTheRequest(t *testing.T) {
	for name, want := range map[string]string{
		"registry.example:5000/team/app@sha256:0": "/images/registry.example:5000/team/app@sha256:0/json",
		"app?size=1#a%2f":                         "/images/app%3Fsize=1%23a%252f/json",
	} {
		var asked string
		c := clientOf(t, func(w http.ResponseWriter, r *http.Request) { asked = r.RequestURI; _, _ = io.WriteString(w, "{}") })
		if _, err := c.Image(t.Context(), name); err != nil || asked != "/v"+c.api().ClientVersion()+want {
			t.Errorf("%s: %v, asked for %s, want %s", name, err, asked, want)
		}
	}
}
