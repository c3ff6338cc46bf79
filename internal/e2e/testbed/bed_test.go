package testbed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample(dir string) Bed {
	return Bed{
		Dir: dir, DockerHost: "unix:///x/docker.sock", Bridge: "fgtbr7", Address: "10.213.7.1", Registry: "10.213.7.1:5000",
		Username: "guest", TokenFile: dir + "/token", CAFile: dir + "/ca.crt", ImagesFile: dir + "/images.json",
	}
}

func TestEnvironmentRoundTrip(t *testing.T) {
	want := sample("/bed")
	env := map[string]string{}
	for _, e := range want.Environ() {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	got, err := fromEnv(func(name string) string { return env[name] })
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, bed (-want +got):\n%s", err, diff)
	}
	for name := range env {
		t.Run("without "+name, func(t *testing.T) {
			_, err := fromEnv(func(n string) string {
				if n == name {
					return ""
				}
				return env[n]
			})
			if err == nil || !strings.Contains(err.Error(), "no test bed: "+name+" not set; run it under make test") {
				t.Errorf("error %v; want it to name %s and the way out", err, name)
			}
		})
	}
}

func TestImage(t *testing.T) {
	b := sample(t.TempDir())
	const text = `{"v2":{"reference":"r/c:v2"},"v1":{"reference":"r/c:v1","manifest_digest":"sha256:1","config_digest":"sha256:2"}}`
	if err := os.WriteFile(b.ImagesFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := b.Image("v1")
	if want := (Image{"r/c:v1", "sha256:1", "sha256:2"}); got != want || err != nil {
		t.Errorf("%+v, error %v; want %+v", got, err, want)
	}
	if _, err := b.Image("v3"); err == nil || !strings.Contains(err.Error(), `no image "v3"; it has [v1 v2]`) {
		t.Errorf("error %v; want the existing ones in it", err)
	}
}

func TestToken(t *testing.T) {
	b := sample(t.TempDir())
	if err := os.WriteFile(filepath.Join(b.Dir, "token"), []byte("abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Token(); got != "abc" || err != nil {
		t.Errorf("%q, error %v; want abc without the newline", got, err)
	}
}
