package preload

import (
	"archive/tar"
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/internal/fault"
)

func sample(t testing.TB, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(4096, 2)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg.OS, cfg.Architecture = "linux", arch
	img, err = mutate.ConfigFile(img, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestFetch(t *testing.T) {
	img := sample(t, "amd64")
	dir := t.TempDir()
	srv := httptest.NewServer(registry.New())
	defer srv.Close()
	reference := strings.TrimPrefix(srv.URL, "http://") + "/a/controller:v1"
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(dir, "docker.tar")
	if err := tarball.WriteToFile(docker, ref, img); err != nil {
		t.Fatal(err)
	}
	directory := filepath.Join(dir, "layout")
	p, err := layout.Write(directory, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	other := sample(t, "arm64")
	if err := p.AppendImage(img, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"})); err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(other, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "arm64"})); err != nil {
		t.Fatal(err)
	}
	oci := filepath.Join(dir, "oci.tar")
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	if err := tw.AddFS(os.DirFS(directory)); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(oci, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, archive, manifest string }{
		{"registry", "", manifest.String()},
		{"docker archive", docker, ""},
		{"oci archive", oci, manifest.String()},
		{"oci layout", directory, manifest.String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache := t.TempDir()
			got, err := Fetch(t.Context(), Want{Reference: reference, Archive: tt.archive}, "amd64", cache)
			if err != nil {
				t.Fatal(err)
			}
			if got.ConfigDigest != config.String() || got.ManifestDigest != tt.manifest {
				t.Errorf("want config %s and manifest %q, got %+v", config, tt.manifest, got)
			}
			tag := ref.(name.Tag)
			loaded, err := tarball.ImageFromPath(got.Path, &tag)
			if err != nil {
				t.Fatalf("the result is not a Docker archive with its tag: %v", err)
			}
			if c, err := loaded.ConfigName(); err != nil || c != config {
				t.Errorf("want image %s, got %s %v", config, c, err)
			}
			again, err := Fetch(t.Context(), Want{Reference: reference, Archive: tt.archive}, "amd64", cache)
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("again: %v\n%s", err, diff)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, ".tmp-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	index, err := Index([]Image{{Reference: "a.example/a:1", ConfigDigest: config.String(), File: "x.tar", Path: "/secret"}})
	// The bytes are part of an image's: another form makes other images.
	want := "{\n  \"images\": [\n    {\n      \"reference\": \"a.example/a:1\",\n      \"config_digest\": \"" + config.String() + "\",\n      \"file\": \"x.tar\"\n    }\n  ]\n}\n"
	if err != nil || string(index) != want {
		t.Errorf("index: want %s, got %s %v", want, index, err)
	}
	if _, err := Index([]Image{{Reference: "a:1", ConfigDigest: "sha256:c", File: "x.tar"}}); fault.Of(err) != fault.Invalid {
		t.Errorf("an index the guest cannot read: want refused, got %v", err)
	}
}

func TestFetchRefuses(t *testing.T) {
	srv := httptest.NewServer(registry.New())
	host := strings.TrimPrefix(srv.URL, "http://")
	junk := filepath.Join(t.TempDir(), "junk.tar")
	if err := os.WriteFile(junk, []byte(strings.Repeat("junk", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	armed := filepath.Join(t.TempDir(), "arm.tar")
	ref, err := name.ParseReference("a:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(armed, ref, sample(t, "arm64")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		want Want
		code fault.Kind
	}{
		{"unknown image", Want{Reference: host + "/none:1"}, fault.Invalid},
		{"archive missing", Want{Reference: "a:1", Archive: "/nowhere.tar"}, fault.Invalid},
		{"archive is junk", Want{Reference: "a:1", Archive: junk}, fault.Invalid},
		{"other architecture", Want{Reference: "a:1", Archive: armed}, fault.Invalid},
		{"layout is empty", Want{Reference: "a:1", Archive: t.TempDir()}, fault.Invalid},
		{"bad reference", Want{Reference: "A:::"}, fault.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache := t.TempDir()
			if _, err := Fetch(t.Context(), tt.want, "amd64", cache); fault.Of(err) != tt.code {
				t.Errorf("want %v, got %v: %v", tt.code, fault.Of(err), err)
			}
			if left, _ := os.ReadDir(cache); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	srv.Close()
	if _, err := Fetch(t.Context(), Want{Reference: host + "/none:1"}, "amd64", t.TempDir()); fault.Of(err) != fault.NotReady {
		t.Errorf("registry down: want not-ready, got %v", err)
	}
}
