//go:build integration

package bootstrap

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// sample is an image that no registry has.
type sample struct {
	image            v1.Image
	config, manifest string
	ref              string // by tag, or by digest
	tag              string // always by tag
}

func newSample(t *testing.T, id string, byDigest bool) sample {
	t.Helper()
	made, err := random.Image(4096, 2)
	if err != nil {
		t.Fatal(err)
	}
	file, err := made.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	if made, err = mutate.ConfigFile(made, file); err != nil {
		t.Fatal(err)
	}
	config, err := made.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := made.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s := sample{image: made, config: config.String(), manifest: manifest.String(), tag: "nowhere.invalid/" + id + ":v1"}
	if s.ref = s.tag; byDigest {
		s.ref = "nowhere.invalid/" + id + "@" + s.manifest
	}
	return s
}

// kinds are the archives that an index may name. Each writes path.
var kinds = []struct {
	name  string
	write func(t *testing.T, bed testbed.Bed, s sample, path string)
	may   bool // may be refused by an engine, which must then be said
}{
	{"crane", writeCrane, false},
	{"docker save of this engine", writeSave, false},
	{"oci layout", writeOCI, true},
}

// writeCrane writes as felhom-golden, crane and skopeo do: an old docker archive.
func writeCrane(t *testing.T, _ testbed.Bed, s sample, path string) {
	t.Helper()
	r, err := name.ParseReference(s.ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, r, s.image); err != nil {
		t.Fatal(err)
	}
}

// writeSave loads the image, lets the engine save it, and forgets it.
func writeSave(t *testing.T, bed testbed.Bed, s sample, path string) {
	t.Helper()
	r, err := name.ParseReference(s.tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, r, s.image); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, bed).Load(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	socket := strings.TrimPrefix(bed.DockerHost, "unix://")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://engine/images/get?names="+url.QueryEscape(s.tag), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, resp.Body)
	if err := errors.Join(err, f.Close()); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("docker save: %s, %v", resp.Status, err)
	}
	if err := bed.Engine(t).RemoveImage(t.Context(), s.tag); err != nil {
		t.Fatal(err)
	}
}

// writeOCI writes a layout without the docker archive's manifest.json.
func writeOCI(t *testing.T, _ testbed.Bed, s sample, path string) {
	t.Helper()
	dir := t.TempDir()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendImage(s.image, layout.WithAnnotations(map[string]string{"io.containerd.image.name": s.tag, "org.opencontainers.image.ref.name": "v1"})); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := errors.Join(w.AddFS(os.DirFS(dir).(fs.ReadDirFS)), w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func client(t *testing.T, bed testbed.Bed) *docker.Client {
	t.Helper()
	c, err := docker.New(bed.DockerHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPreloadedArchivesOnTheEngine has each kind of archive, with and without
// its manifest's digest in the index, and each combination of pins, on the
// engine of the bed. What the index can answer for comes up without a registry,
// the first time and again; all else is named.
func TestPreloadedArchivesOnTheEngine(t *testing.T) {
	bed := testbed.FromEnv(t)
	for _, kind := range kinds {
		for _, byDigest := range []bool{false, true} {
			for _, kept := range []bool{true, false} {
				for _, pins := range []string{"none", "config", "manifest", "both"} {
					t.Run(fmt.Sprintf("%s/by digest %v/manifest kept %v/%s", kind.name, byDigest, kept, pins), func(t *testing.T) {
						id := bed.TestID(t)
						s := newSample(t, id, byDigest)
						dir := t.TempDir()
						kind.write(t, bed, s, filepath.Join(dir, "c.tar"))
						entry := contract.PreloadImage{Reference: mustRef(t, s.ref), ConfigDigest: digest(t, s.config), File: "c.tar"}
						if kept {
							entry.ManifestDigest = digest(t, s.manifest)
						}
						index, err := contract.Preload{Images: []contract.PreloadImage{entry}}.Encode()
						if err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(filepath.Join(dir, contract.PreloadIndex), index, 0o600); err != nil {
							t.Fatal(err)
						}
						t.Cleanup(func() {
							ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
							defer cancel()
							for _, ref := range []string{s.tag, mark(entry), s.config, s.manifest} {
								if err := bed.Engine(t).RemoveImage(ctx, ref); err != nil {
									t.Error(err)
								}
							}
						})
						step := imageStep{store: client(t, bed), ref: entry.Reference, preload: dir, arch: runtime.GOARCH, patience: time.Nanosecond}
						if pins == "config" || pins == "both" {
							step.config = digest(t, s.config)
						}
						if pins == "manifest" || pins == "both" {
							step.manifest = digest(t, s.manifest)
						}
						unknown := !kept && (pins == "manifest" || pins == "none" && byDigest)
						checkPreloaded(t, step, unknown, kind.may)
					})
				}
			}
		}
	}
}

// checkPreloaded brings the image twice. unknown: the index cannot answer for
// the pins.
func checkPreloaded(t *testing.T, step imageStep, unknown, may bool) {
	t.Helper()
	var notes []string
	note := func(text string) { notes = append(notes, text) }
	first, out, err := step.run(t.Context(), note, func(int64, int64) {})
	if err != nil && (unknown || may) {
		if said := strings.Join(notes, "\n"); !strings.Contains(said, "the preloaded image is not used: ") {
			t.Errorf("it fails with %v and does not say why the archive is of no use: %q", err, said)
		}
		return
	}
	if unknown {
		t.Fatalf("%+v, %+v: taken, though the index cannot answer for the pins", first, out)
	}
	if err != nil || out.Message != "loaded c.tar" {
		t.Fatalf("%+v, %v; want it loaded; notes %q", out, err, notes)
	}
	again, out, err := step.run(t.Context(), note, func(int64, int64) {})
	if err != nil || out.Outcome != Unchanged || again.ID != first.ID {
		data, _ := json.Marshal(notes) // strings always marshal
		t.Errorf("again: %+v, %+v, %v; want %+v unchanged; notes %s", again, out, err, first, data)
	}
}
