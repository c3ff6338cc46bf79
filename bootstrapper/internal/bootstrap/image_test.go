package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
	"github.com/felhom/felhom-golden/internal/fault"
)

const ref = "reg.example/c:v1"

func digest(t *testing.T, text string) contract.Digest {
	t.Helper()
	d, err := contract.ParseDigest(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestMismatchOnBothImageStores: what a pin can prove depends on how the store
// names images.
func TestMismatchOnBothImageStores(t *testing.T) {
	a, b, c := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64), "sha256:"+strings.Repeat("c", 64)
	older := docker.Image{ID: a, Manifests: []string{b}}
	loaded := docker.Image{ID: a}
	newer := docker.Image{ID: b, Manifests: []string{b}, Containerd: true}
	for _, test := range []struct {
		name             string
		found            docker.Image
		manifest, config string
		want             string // in the error; "": none
	}{
		{"not pinned", loaded, "", "", ""},
		{"older, config", older, "", a, ""},
		{"older, other config", older, "", c, "want config digest " + c + ", got " + a},
		{"older, manifest", older, b, "", ""},
		{"older, other manifest", older, c, "", "want manifest digest " + c + ", got " + b},
		{"loaded, both: the config proves it", loaded, b, a, ""},
		{"loaded, manifest alone cannot be proved", loaded, b, "", "got none (it was loaded, not pulled)"},
		{"containerd, manifest", newer, b, "", ""},
		{"containerd, both: the manifest proves it", newer, b, a, ""},
		{"containerd, other manifest", newer, c, a, "want manifest digest " + c},
		{"containerd, config alone cannot be proved", newer, "", a, "a config digest cannot be checked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := imageStep{ref: mustRef(t, ref)}
			if test.manifest != "" {
				s.manifest = digest(t, test.manifest)
			}
			if test.config != "" {
				s.config = digest(t, test.config)
			}
			err := s.mismatch(test.found)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("mismatch: %v, want %q", err, test.want)
			}
		})
	}
}

func mustRef(t *testing.T, text string) contract.ImageRef {
	t.Helper()
	r, err := contract.ParseImageRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// step is an image step on a fake engine.
func step(t *testing.T) (imageStep, *dockertest.Engine) {
	t.Helper()
	e := dockertest.Start(t)
	c, err := docker.New(e.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return imageStep{store: c, ref: mustRef(t, ref), preload: t.TempDir(), arch: runtime.GOARCH, patience: time.Minute}, e
}

func bring(t *testing.T, s imageStep) (image, outcome, error) {
	t.Helper()
	return s.run(t.Context(), func(text string) { t.Log(text) }, func(int64, int64) {})
}

func pulled(e *dockertest.Engine) bool {
	for _, call := range e.Calls() {
		if strings.HasPrefix(call, "POST /images/create") {
			return true
		}
	}
	return false
}

func TestPreloadedImageIsLoadedAndNotPulled(t *testing.T) {
	s, e := step(t)
	config, manifest := dockertest.Digests(ref)
	s.manifest, s.config = digest(t, manifest), digest(t, config)
	preload(t, s.preload, config, manifest)
	img, out, err := bring(t, s)
	if err != nil || out.Outcome != Changed || img.ID != config || img.Ref != ref || pulled(e) {
		t.Errorf("image %+v, %+v, %v; want it loaded from c.tar without a pull", img, out, err)
	}
	if _, out, err := bring(t, s); err != nil || out.Outcome != Unchanged {
		t.Errorf("again: %+v, %v", out, err)
	}
}

// TestPreloadedImageServesEachPin: with either store, each pin that the archive
// can answer for is served without a pull, and loaded once.
func TestPreloadedImageServesEachPin(t *testing.T) {
	config, manifest := dockertest.Digests(ref)
	for _, containerd := range []bool{false, true} {
		for _, kept := range []string{manifest, ""} {
			for _, pins := range [][2]string{{"", ""}, {config, ""}, {"", manifest}, {config, manifest}} {
				t.Run(fmt.Sprintf("containerd %v, kept %.10s, pins %.10s", containerd, kept, pins), func(t *testing.T) {
					s, e := step(t)
					e.Containerd = containerd
					if pins[0] != "" {
						s.config = digest(t, pins[0])
					}
					if pins[1] != "" {
						s.manifest = digest(t, pins[1])
					}
					preload(t, s.preload, config, kept)
					if kept == "" && pins == [2]string{"", manifest} {
						s.patience = time.Nanosecond
						if _, _, err := bring(t, s); err == nil || !pulled(e) {
							t.Errorf("a manifest digest that the archive did not keep is taken: %v", err)
						}
						return
					}
					first, out, err := bring(t, s)
					if err != nil || out.Message != "loaded c.tar" || first.Ref != ref {
						t.Fatalf("image %+v, %+v, %v; want it loaded", first, out, err)
					}
					if again, out, err := bring(t, s); err != nil || out.Outcome != Unchanged || again.ID != first.ID || again.Ref != ref || pulled(e) {
						t.Errorf("again %+v, %+v, %v; want %+v, unchanged and not pulled", again, out, err, first)
					}
				})
			}
		}
	}
}

// TestConfigDigestAloneOnContainerd: nothing was compared, so nothing may be
// said about the registry.
func TestConfigDigestAloneOnContainerd(t *testing.T) {
	s, e := step(t)
	e.Containerd = true
	e.Push(ref)
	config, _ := dockertest.Digests(ref)
	s.config = digest(t, config)
	for _, wantPull := range []bool{true, false} { // the second run knows before it pulls
		_, _, err := bring(t, s)
		if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "cannot be checked") || !strings.Contains(fault.HintOf(err), "set controller_image_manifest_digest") {
			t.Errorf("error %v of class %s, hint %s", err, fault.Of(err), fault.HintOf(err))
		}
		if got := pulled(e); got != wantPull {
			t.Errorf("pulled %v, want %v", got, wantPull)
		}
	}
}

func TestWrongPreloadIsNotUsed(t *testing.T) {
	s, e := step(t)
	e.Push(ref)
	config, manifest := dockertest.Digests(ref)
	s.manifest, s.config = digest(t, manifest), digest(t, config)
	preload(t, s.preload, "sha256:"+strings.Repeat("0", 64), manifest)
	if _, out, err := bring(t, s); err != nil || out.Message != "pulled" || !pulled(e) {
		t.Errorf("%+v, %v; want it pulled", out, err)
	}
}

func preload(t *testing.T, dir, config, manifest string) {
	t.Helper()
	entry := contract.PreloadImage{Reference: mustRef(t, ref), ConfigDigest: digest(t, config), File: "c.tar"}
	if manifest != "" {
		entry.ManifestDigest = digest(t, manifest)
	}
	index, err := contract.Preload{Images: []contract.PreloadImage{entry}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{contract.PreloadIndex: index, "c.tar": []byte(ref)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPulledImageOfAnotherDigestIsRefused(t *testing.T) {
	s, e := step(t)
	e.Push(ref)
	s.manifest = digest(t, "sha256:"+strings.Repeat("0", 64))
	if _, _, err := bring(t, s); fault.Of(err) != fault.Mismatch || !strings.Contains(err.Error(), "want manifest digest sha256:000") {
		t.Errorf("error %v of class %s", err, fault.Of(err))
	}
}

func TestFaultsThatPassAreRetried(t *testing.T) {
	s, e := step(t)
	e.Push(ref)
	e.Fail("POST /images/create", 500, "received unexpected HTTP status: 503 Service Unavailable")
	if _, out, err := bring(t, s); err != nil || out.Message != "pulled" {
		t.Errorf("%+v, %v; want it pulled at the second try", out, err)
	}
}

// TestProbeMakesNoFaultFinal: the probe does not see a registry as the engine
// does, so what it finds explains a fault and never ends the tries.
func TestProbeMakesNoFaultFinal(t *testing.T) {
	s, e := step(t)
	e.Push(ref)
	e.Fail("POST /images/create", 500, "the moon is full")
	asked := 0
	s.probe = func(_ context.Context, host string) docker.Probe {
		asked++
		if host != "reg.example" {
			t.Errorf("asked %q", host)
		}
		return docker.Probe{Kind: docker.UntrustedTLS, Err: os.ErrInvalid}
	}
	if _, out, err := bring(t, s); err != nil || out.Message != "pulled" || asked != 1 {
		t.Errorf("%+v, %v, asked %d times; want it pulled at the second try", out, err, asked)
	}
}

// TestLoginPageIsNotTakenForAWrongCredential: engines call the 401 of a login page a wrong
// credential, which is final; the guest's network may be free a moment later.
func TestLoginPageIsNotTakenForAWrongCredential(t *testing.T) {
	const wrong, denied = "unauthorized: authentication required", "denied"
	for _, test := range []struct {
		says  string
		probe docker.Probe
		want  string // "": refused
	}{
		{wrong, docker.Probe{Kind: docker.NotARegistry, Err: os.ErrInvalid}, "pulled"},
		{denied, docker.Probe{Kind: docker.NotARegistry, Err: os.ErrInvalid}, "pulled"},
		{wrong, docker.Probe{}, ""},
		{denied, docker.Probe{}, ""},
		{wrong, docker.Probe{Kind: docker.Unreachable, Err: os.ErrInvalid}, ""},
	} {
		s, e := step(t)
		e.Push(ref)
		e.Fail("POST /images/create", 500, test.says)
		s.probe = func(context.Context, string) docker.Probe { return test.probe }
		_, out, err := bring(t, s)
		if out.Message != test.want || test.want == "" && fault.Of(err) != fault.Mismatch {
			t.Errorf("%+v: %+v, %v; want %q", test.probe, out, err, test.want)
		}
	}
}

// TestArtifactIsNotTakenForAnImage: the store of containerd takes a chart as it is.
func TestArtifactIsNotTakenForAnImage(t *testing.T) {
	s, _ := step(t)
	if _, err := s.take(docker.Image{ID: "sha256:0"}, ref); fault.Of(err) != fault.Invalid || !strings.Contains(fault.HintOf(err), "chart") {
		t.Errorf("error %v, hint %q; want it refused as not a container image", err, fault.HintOf(err))
	}
}

// TestCredentialGoesToItsOwnRegistryAlone: a mirror is another's.
func TestCredentialGoesToItsOwnRegistryAlone(t *testing.T) {
	secret, err := contract.ParseSecret("registry-secret")
	if err != nil {
		t.Fatal(err)
	}
	b := contract.Bootstrap{ControllerImage: mustRef(t, ref), Registry: &contract.Registry{Host: "reg.example", Username: "u", Token: secret}}
	if got := credentialFor(b); got.Password != "registry-secret" {
		t.Errorf("own registry: %q", got.Username)
	}
	b.RegistryMirror = "mirror.example"
	if got := credentialFor(b); got != (docker.Credential{}) {
		t.Error("the mirror gets the registry's credential")
	}
}

// TestRefusalWithoutCredential: a credential that was not given cannot be renewed.
func TestRefusalWithoutCredential(t *testing.T) {
	for _, test := range []struct {
		name  string
		step  imageStep
		given docker.Kind
		want  docker.Kind
	}{
		{"none, refused", imageStep{}, docker.Credential401, docker.NoCredential},
		{"none, denied", imageStep{}, docker.Denied, docker.NoCredential},
		{"none, policy", imageStep{}, docker.PolicyDenied, docker.PolicyDenied},
		{"one, refused", imageStep{credential: docker.Credential{Username: "u"}}, docker.Credential401, docker.Credential401},
		{"one, denied", imageStep{credential: docker.Credential{Username: "u"}}, docker.Denied, docker.Denied},
		{"one of hosts.toml", imageStep{proxy: &proxied{}}, docker.Credential401, docker.Credential401},
		{"none, a page", imageStep{probe: func(context.Context, string) docker.Probe {
			return docker.Probe{Kind: docker.NotARegistry, Err: errors.New("page")}
		}}, docker.Denied, docker.NotARegistry},
	} {
		got, _ := test.step.judge(t.Context(), "reg.example", &docker.FaultError{Op: "pull", Kind: test.given, Err: errors.New("text")})
		if got.Kind != test.want {
			t.Errorf("%s: kind %q, want %q", test.name, got.Kind, test.want)
		}
	}
}
