package preload

import (
	"archive/tar"
	"bytes"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/internal/contract"
)

// pack makes a tar of dir, with extra files.
func pack(t *testing.T, dir, to string, extra map[string][]byte) {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for file, data := range extra {
		err := tw.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(data))})
		if err == nil {
			_, err = tw.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.AddFS(os.DirFS(dir)), tw.Close(), os.WriteFile(to, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// Each kind of archive with each pin of a guest either serves it, by the rule
// that guests follow, or is a warning at build.
func TestEveryPinIsServedOrWarnedOf(t *testing.T) {
	dir := t.TempDir()
	img := sample(t, "amd64")
	srv := httptest.NewServer(registry.New())
	defer srv.Close()
	repository := strings.TrimPrefix(srv.URL, "http://") + "/a/controller"
	single, err := name.NewTag(repository + ":single")
	if err != nil {
		t.Fatal(err)
	}
	multi, err := name.NewTag(repository + ":multi")
	if err != nil {
		t.Fatal(err)
	}
	platform := v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: platform})
	if err := errors.Join(remote.Write(single, img), remote.WriteIndex(multi, index)); err != nil {
		t.Fatal(err)
	}
	at := func(file string) string { return filepath.Join(dir, file) }
	flat, err := layout.Write(at("flat"), empty.Index)
	if err == nil {
		err = flat.AppendImage(img)
	}
	nested, nestedErr := layout.Write(at("nested"), empty.Index)
	if nestedErr == nil {
		nestedErr = nested.AppendIndex(index)
	}
	if err := errors.Join(err, nestedErr, tarball.WriteToFile(at("docker.tar"), single, img)); err != nil {
		t.Fatal(err)
	}
	pack(t, at("flat"), at("flat.tar"), nil)
	pack(t, at("nested"), at("nested.tar"), nil)
	// Newer engines write a layout, with Docker's own list of the same blobs.
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var blobs []string
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, `"blobs/sha256/`+d.Hex+`"`)
	}
	list := `[{"Config":"blobs/sha256/` + config.Hex + `","RepoTags":["` + single.Name() + `"],"Layers":[` + strings.Join(blobs, ",") + `]}]`
	pack(t, at("flat"), at("new-docker.tar"), map[string][]byte{"manifest.json": []byte(list)})
	manifest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	indexDigest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	digest := func(text string) (d contract.Digest) {
		if text != "" {
			if d, err = contract.ParseDigest(text); err != nil {
				t.Fatal(err)
			}
		}
		return d
	}
	for _, tt := range []struct{ name, reference, archive string }{
		{"registry", single.Name(), ""},
		{"registry, many platforms", multi.Name(), ""},
		{"registry by digest", repository + "@" + manifest.String(), ""},
		{"registry by digest of the index", repository + "@" + indexDigest.String(), ""},
		{"docker save", single.Name(), at("docker.tar")},
		{"docker save by digest", repository + "@" + manifest.String(), at("docker.tar")},
		{"docker save of a newer engine", single.Name(), at("new-docker.tar")},
		{"skopeo or crane", single.Name(), at("flat.tar")},
		{"layout", single.Name(), at("flat")},
		{"buildx", single.Name(), at("nested.tar")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Fetch(t.Context(), Want{Reference: tt.reference, Archive: tt.archive}, "amd64", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			entry, err := got.entry()
			if err != nil {
				t.Fatal(err)
			}
			warnings, err := got.Warnings()
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(warnings, "\n")
			if entry.Serves(digest(config.String()), entry.Reference.Digest()) != nil {
				t.Error("a guest that pins the config is not served")
			}
			unserved := false
			for _, pin := range []struct{ config, manifest string }{{"", ""}, {config.String(), ""}, {"", manifest.String()}, {config.String(), manifest.String()}, {"", indexDigest.String()}} {
				by := digest(pin.manifest)
				if own := entry.Reference.Digest(); !own.IsZero() {
					by = own // a reference by digest takes no other pin
				} else if pin.manifest == indexDigest.String() && got.IndexDigest == "" {
					continue // of another image, as far as the archive knows
				}
				if entry.Serves(digest(pin.config), by) != nil {
					unserved = true
					if all == "" {
						t.Errorf("pins %+v are neither served nor warned of", pin)
					}
				}
			}
			if !unserved && all != "" {
				t.Errorf("every guest is served, and there is a warning: %s", all)
			}
			if unserved && !strings.Contains(all, config.String()) && !strings.Contains(all, manifest.String()) {
				t.Errorf("the warning names no pin that fits: %s", all)
			}
		})
	}
}
