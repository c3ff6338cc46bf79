package bootstrap

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// build makes a plan from the golden image's file and the contract's settings.
func build(t *testing.T, golden string, profile contract.Profile, settings *contract.Container) (plan, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "spec.yaml")
	if golden != "" {
		if err := os.WriteFile(file, []byte(golden), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return specBuilder{name: "c", root: "/guest", file: file, socket: "/guest/run/docker.sock", profile: profile, settings: settings}.build()
}

// All that is wrong in the golden image's file, with its place, and in the contract, in one line.
func TestSpecNamesAllProblemsAtOnceInOneLine(t *testing.T) {
	_, err := build(t, "ports: 9001:9001\nvolums: [x]\nenv: 7\n", contract.ProfileFelhom, &contract.Container{
		Ports: []string{"nonsense:port"}, Volumes: []string{"a:b:c:d"}, Environment: map[string]string{"B=": "hunter2"},
		ExtraHosts: []string{"alone"}, Memory: "1k", Labels: map[string]string{"org.felhom.bootstrap": "x"},
	})
	if fault.Of(err) != fault.Invalid {
		t.Fatalf("error %v, want it refused", err)
	}
	text := err.Error()
	for _, want := range []string{
		"spec.yaml:1:8: error: ports: want a list", `spec.yaml:2:1: error: volums: unknown key; did you mean "volumes"?`, "spec.yaml:3:1: ",
		"bootstrap.json: container.ports[0]: ", "container.volumes[0]: ", "container.environment: ", "container.extra_hosts[0]: ",
		`container.memory: "1k" is below the minimum of 6m`, "container.labels.org.felhom.bootstrap: ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("error %q lacks %q", text, want)
		}
	}
	if strings.Contains(text, "\n") || strings.Contains(text, "hunter2") {
		t.Errorf("error has more than one line, or a value: %q", text)
	}
	for _, want := range []string{"controller.container in the recipe", "agentd.yaml"} {
		if hint := fault.HintOf(err); !strings.Contains(hint, want) {
			t.Errorf("hint %q lacks %q", hint, want)
		}
	}
}

// The layers: defaults of the profile, golden image, contract.
func TestSpecIsMerged(t *testing.T) {
	golden := "ports: [\"80:80\"]\nenvironment: {A: golden, B: golden}\nmemory: 64m\n"
	got, err := build(t, golden, contract.ProfileFelhom, &contract.Container{
		Environment: map[string]string{"B": "host"}, Labels: map[string]string{"l": "v"}, Command: []string{"x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := plan{spec: docker.Spec{
		Name: "c", Ports: []string{"80:80"}, Environment: []string{"A=golden", "B=host"}, Memory: 64 << 20,
		Binds: []string{
			"/guest/run/docker.sock:/var/run/docker.sock", "/guest/opt/docker/felhom-controller:/opt/docker/felhom-controller",
			"/guest/etc/felhom-bootstrap:/etc/felhom-bootstrap:ro",
		},
		Labels: map[string]string{"l": "v"}, Command: []string{"x"},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(plan{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A plain container gets only what was asked for.
func TestPlainSpec(t *testing.T) {
	got, err := build(t, "", contract.ProfilePlain, nil)
	want := plan{spec: docker.Spec{Name: "c"}, exposed: true}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(plan{})); diff != "" || err != nil {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
	for text, exposed := range map[string]bool{"memory: 64m\n": true, "ports: []\n": false, "ports: [80:80]\n": false, "network: host\n": false} {
		if got, err := build(t, text, contract.ProfilePlain, nil); err != nil || got.exposed != exposed {
			t.Errorf("%q: exposed %v, error %v", text, got.exposed, err)
		}
	}
}

func TestPublish(t *testing.T) {
	for _, tt := range []struct {
		exposed, ports []string
		why            string
	}{
		{[]string{"80/tcp", "53/udp", "9001"}, []string{"80:80", "53:53/udp", "9001:9001"}, ""},
		{nil, nil, ""},
		{[]string{"80/tcp", "99999/tcp"}, nil, "its image exposes 99999/tcp, which is not a port"},
		{[]string{"1-65535/tcp"}, nil, "which is not a port"},
		{[]string{"80/x\x1b[2J"}, nil, "which is not a port"},
		{[]string{""}, nil, "which is not a port"},
		{make([]string, 65), nil, "exposes 65 ports, more than the 64"},
	} {
		ports, why := publish(tt.exposed)
		if !slices.Equal(ports, tt.ports) || !strings.Contains(why, tt.why) || (why == "") != (tt.why == "") || strings.Contains(why, "\x1b") {
			t.Errorf("%q: %q, %q", tt.exposed, ports, why)
		}
	}
}

// A new version of this program does not replace containers that an older one made.
func TestHashIsStable(t *testing.T) {
	spec := docker.Spec{Name: "c", Ports: []string{"80:80"}, Environment: []string{"A=b"}}
	const want = "36b19e73555ab8eec610dbc4c1f659340b24fa406ae17cd59bd9095b6fdba49d"
	if got := hash(spec, "sha256:1"); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
	spec.Labels = map[string]string{"a": "b"}
	if hash(spec, "sha256:1") == want {
		t.Error("labels are not part of the hash")
	}
}

func TestEnvironmentIsScrubbed(t *testing.T) {
	scrub := scrubber(contract.Bootstrap{}, []string{"PASSWORD=eight888", "DEBUG=true"})
	if got, want := scrub("it is true: eight888"), "it is true: [redacted]"; got != want {
		t.Errorf("scrubbed %q, want %q", got, want)
	}
}
