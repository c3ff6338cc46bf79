package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
	"github.com/felhom/felhom-golden/internal/fault"
)

const agent = "192.0.2.7:8443"

// proxiedStep is an image step through the host, on a fake engine.
func proxiedStep(t *testing.T, containerd bool) (imageStep, *dockertest.Engine) {
	t.Helper()
	s, e := step(t)
	e.Containerd = containerd
	s.proxy = &proxied{agent: agent, mount: t.TempDir(), certs: filepath.Join(t.TempDir(), "certs.d"), credential: docker.Credential{Username: "guest-8200", Password: "token"}}
	for _, name := range []string{hostsFile, certificateFile} {
		if err := os.WriteFile(filepath.Join(s.proxy.mount, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s, e
}

func TestOlderStorePullsByTheHostsName(t *testing.T) {
	s, e := proxiedStep(t, false)
	e.Username, e.Password = "guest-8200", "token"
	mirrored := agent + "/c:v1"
	e.Push(mirrored)
	_, manifest := dockertest.Digests(mirrored)
	s.manifest = digest(t, manifest)
	img, out, err := bring(t, s)
	if err != nil || out.Outcome != Changed || img.Ref != ref {
		t.Fatalf("image %+v, %+v, %v; want it pulled, under its own name", img, out, err)
	}
	if got := read(t, filepath.Join(s.proxy.certs, agent, "agent.crt")); got != "agent.crt" {
		t.Errorf("the engine trusts %q", got)
	}
	if _, err := os.Lstat(filepath.Join(s.proxy.certs, "reg.example")); !os.IsNotExist(err) {
		t.Errorf("files for the image's own registry: %v", err)
	}
	e.Calls()
	// A manifest pin alone does not make the engine pull again.
	if _, out, err := bring(t, s); err != nil || out.Outcome != Unchanged || pulled(e) {
		t.Errorf("again: %+v, %v", out, err)
	}
}

func TestContainerdStorePullsByTheImagesName(t *testing.T) {
	s, e := proxiedStep(t, true)
	e.Push(ref) // it takes no credential: hosts.toml has it
	s.credential = docker.Credential{Username: "puller", Password: "static"}
	if img, out, err := bring(t, s); err != nil || out.Outcome != Changed || img.Ref != ref {
		t.Fatalf("image %+v, %+v, %v", img, out, err)
	}
	for _, name := range []string{"hosts.toml", "agent.crt"} {
		if got := read(t, filepath.Join(s.proxy.certs, "reg.example", name)); got != name {
			t.Errorf("%s holds %q", name, got)
		}
		// What the host writes again is what the engine reads.
		if err := os.WriteFile(filepath.Join(s.proxy.mount, name), []byte("rotated"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(s.proxy.certs, "reg.example", name)); got != "rotated" {
			t.Errorf("%s after a rotation holds %q", name, got)
		}
	}
}

// Containerd's store of an engine before 28 goes to registries without a look at
// hosts.toml: by the image's name it would ask the registry itself.
func TestContainerdStoreOfAnOlderEnginePullsByTheHostsName(t *testing.T) {
	for version, isByHost := range map[string]bool{
		"26.1.5+dfsg1": true, "25.0.0": true, "24.0.7-ce": true, "27.5.1": true, "28.0.0": false, "29.0.0-moby-v2.0.0-beta.24": false, "100.1": false, "dev": false, "": false,
	} {
		t.Run(version, func(t *testing.T) {
			s, e := proxiedStep(t, true)
			e.Version = version
			name, host, other := ref, "reg.example", agent
			if isByHost {
				e.Username, e.Password = "guest-8200", "token"
				name, host, other = agent+"/c:v1", agent, "reg.example"
			}
			e.Push(name)
			if img, out, err := bring(t, s); err != nil || out.Outcome != Changed || img.Ref != ref {
				t.Fatalf("image %+v, %+v, %v; want it under its own name", img, out, err)
			}
			if got := read(t, filepath.Join(s.proxy.certs, host, "agent.crt")); got != "agent.crt" {
				t.Errorf("the engine trusts %q", got)
			}
			if _, err := os.Lstat(filepath.Join(s.proxy.certs, other)); !os.IsNotExist(err) {
				t.Errorf("files for %s: %v", other, err)
			}
			if _, out, err := bring(t, s); err != nil || out.Outcome != Unchanged {
				t.Errorf("again: %+v, %v", out, err)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWhatIsInThePlaceOfTheLinks(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(dir string) error
		kind    fault.Kind // None: it works
	}{
		"nothing":        {func(string) error { return nil }, fault.None},
		"another's file": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("corp"), 0o600) }, fault.None},
		"an old link":    {func(dir string) error { return os.Symlink("/nowhere", filepath.Join(dir, "hosts.toml")) }, fault.None},
		"a killed try":   {func(dir string) error { return os.Symlink("/nowhere", filepath.Join(dir, ".hosts.toml.new")) }, fault.None},
		"a file":         {func(dir string) error { return os.WriteFile(filepath.Join(dir, "hosts.toml"), nil, 0o600) }, fault.Exists},
		"a directory":    {func(dir string) error { return os.Mkdir(filepath.Join(dir, "hosts.toml"), 0o700) }, fault.Exists},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := proxiedStep(t, true)
			e.Push(ref)
			dir := filepath.Join(s.proxy.certs, "reg.example")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.prepare(dir); err != nil {
				t.Fatal(err)
			}
			_, _, err := bring(t, s)
			if fault.Of(err) != c.kind {
				t.Fatalf("%v, want kind %v", err, c.kind)
			}
			if err == nil && read(t, filepath.Join(dir, "hosts.toml")) != "hosts.toml" {
				t.Error("the link leads elsewhere")
			}
			if err != nil && (fault.HintOf(err) == "" || pulled(e)) {
				t.Errorf("no hint, or a pull without the proxy: %v", err)
			}
		})
	}
}

// Until the host has written the files there is no pull: the registry itself
// would refuse it for good.
func TestNoPullWithoutTheFiles(t *testing.T) {
	s, e := proxiedStep(t, true)
	e.Push(ref)
	if err := os.Remove(filepath.Join(s.proxy.mount, hostsFile)); err != nil {
		t.Fatal(err)
	}
	_, _, err := bring(t, s)
	if fault.Of(err) != fault.NotReady || !strings.Contains(fault.HintOf(err), "guest add") || pulled(e) {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	// What is preloaded needs no registry.
	config, manifest := dockertest.Digests(ref)
	preload(t, s.preload, config, manifest)
	if _, out, err := bring(t, s); err != nil || out.Outcome != Changed {
		t.Errorf("preloaded: %+v, %v", out, err)
	}
}
