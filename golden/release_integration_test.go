//go:build integration

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// testRelease packs as the default recipe does, and reads the archive with
// everything that reads archives, in bounded memory.
func testRelease(t *testing.T, b bakery) {
	archive, _ := bake(t, b.build(t.TempDir(), "--compression", "release"))
	listing, err := exec.Command("tar", "--zstd", "-tf", archive).Output()
	if err != nil {
		t.Fatalf("list with GNU tar: %v", err)
	}
	if n := strings.Count(string(listing), "\n"); n < 3000 {
		t.Errorf("want a whole system, got %d members", n)
	}
	if window := windowOf(t, archive); window < 32<<20 || window > vzdump.MaxWindow {
		t.Errorf("want a large window that stock decoders take, got %d bytes", window)
	}
	// The same image with the largest window, as others may make it.
	largest := filepath.Join(t.TempDir(), filepath.Base(archive))
	if out, err := exec.Command("bash", "-o", "pipefail", "-c", `zstd -dcq "$1" | zstd -1 --long=27 -q -o "$2"`, "bash", archive, largest).CombinedOutput(); err != nil {
		t.Fatalf("pack again: %v\n%s", err, out)
	}
	if window := windowOf(t, largest); window != vzdump.MaxWindow {
		t.Fatalf("want an archive with the largest window, got %d bytes", window)
	}
	archive = largest

	measure := filepath.Join(t.TempDir(), "measure")
	if out, err := exec.Command("go", "build", "-o", measure, "../internal/e2e/bench/measure").CombinedOutput(); err != nil {
		t.Fatalf("build measure: %v\n%s", err, out)
	}
	const limit = vzdump.MaxWindow + 64<<20
	for _, args := range [][]string{
		{"verify", archive},
		{"inspect", "--json", "--full", archive},
		{"unpack", archive, filepath.Join(t.TempDir(), "root")},
	} {
		t.Run("memory of "+args[0], func(t *testing.T) {
			result := filepath.Join(t.TempDir(), "cost.json")
			if out, err := exec.Command(measure, append([]string{result, b.golden}, args...)...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var cost struct {
				RSS      int64 `json:"rss_kib"`
				ExitCode int   `json:"exit_code"`
			}
			data, err := os.ReadFile(result)
			if err == nil {
				err = json.Unmarshal(data, &cost)
			}
			if err != nil || cost.ExitCode != 0 {
				t.Fatalf("exit status %d, %v", cost.ExitCode, err)
			}
			if peak := cost.RSS << 10; peak > limit || peak < vzdump.MaxWindow {
				t.Errorf("want a peak between the window and %d bytes, got %d", limit, peak)
			}
			t.Logf("%d MB", cost.RSS<<10/1e6)
		})
	}
}

func windowOf(t *testing.T, archive string) int64 {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	r, err := vzdump.NewReader(f, vzdump.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 100 { // into the base's frame
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	return r.Facts().Window
}

// testImages brings images along from a registry, a Docker archive and an OCI
// archive.
func testImages(t *testing.T, b bakery) {
	bed, err := testbed.Find()
	if err != nil {
		t.Fatal(err)
	}
	sample, err := bed.Image("v1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeArchives(t, dir)
	base, err := os.ReadFile(b.recipe)
	if err != nil {
		t.Fatal(err)
	}
	// The recipe's own directory, so that the base stays the same.
	recipe := filepath.Join(filepath.Dir(b.recipe), "images.yaml")
	text := string(base) + "controller: {image: '" + sample.Reference + "'}\npreload:\n" +
		"  - {image: 'registry.example/docker:1', archive: " + filepath.Join(dir, "docker.tar") + "}\n" +
		"  - {image: 'registry.example/oci:1', archive: " + filepath.Join(dir, "oci.tar") + "}\n"
	if err := os.WriteFile(recipe, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := bed.Token()
	if err != nil {
		t.Fatal(err)
	}
	login := fmt.Sprintf(`{"auths": {%q: {"username": %q, "password": %q}}}`, bed.Registry, bed.Username, token)
	config := t.TempDir()
	if err := os.WriteFile(filepath.Join(config, "config.json"), []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	b.recipe = recipe
	cmd := b.build(t.TempDir())
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+config, "SSL_CERT_FILE="+bed.CAFile)
	archive, _ := bake(t, cmd)
	out, err := exec.Command("tar", "--zstd", "-xOf", archive, "./usr/lib/felhom/images/index.json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Images []struct {
			Reference, File string
			ConfigDigest    string `json:"config_digest"`
			ManifestDigest  string `json:"manifest_digest"`
		}
	}
	if err := json.Unmarshal(out, &index); err != nil || len(index.Images) != 3 {
		t.Fatalf("want three images, got %v\n%s", err, out)
	}
	if got := index.Images[0]; got.Reference != sample.Reference || got.ConfigDigest != sample.ConfigDigest || got.ManifestDigest != sample.ManifestDigest {
		t.Errorf("from the registry: want %+v, got %+v", sample, got)
	}
	if docker, oci := index.Images[1], index.Images[2]; docker.ManifestDigest != "" || oci.ManifestDigest == "" {
		t.Errorf("want the manifest's digest of the OCI archive alone, got %+v and %+v", docker, oci)
	}
	for _, img := range index.Images {
		listing, err := exec.Command("bash", "-c", `tar --zstd -xOf "$1" "./usr/lib/felhom/images/$2" | tar -t`, "bash", archive, img.File).Output()
		if err != nil || !strings.Contains(string(listing), "manifest.json\n") {
			t.Errorf("%s: want a Docker archive, got %v\n%s", img.File, err, listing)
		}
	}
}

// writeArchives makes docker.tar and oci.tar, each with an image of its own.
func writeArchives(t *testing.T, dir string) {
	t.Helper()
	image := func() v1.Image {
		img, err := random.Image(1<<10, 1)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		cfg.OS, cfg.Architecture = "linux", "amd64"
		img, err = mutate.ConfigFile(img, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	ref, err := name.NewTag("registry.example/docker:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(filepath.Join(dir, "docker.tar"), ref, image()); err != nil {
		t.Fatal(err)
	}
	path, err := layout.Write(filepath.Join(dir, "layout"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(image()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", filepath.Join(dir, "layout"), "-cf", filepath.Join(dir, "oci.tar"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
