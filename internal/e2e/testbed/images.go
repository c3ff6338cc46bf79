package testbed

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Repository is where the sample controller's images are in the registry.
const Repository = "felhom/controller"

// controllerPackage is the sample controller's source.
const controllerPackage = "github.com/felhom/felhom-golden/testdata/controller"

// variant is one image: the same program, whose environment sets its behaviour.
type variant struct {
	tag      string
	behave   string // FELHOM_SAMPLE_BEHAVE
	noHealth bool
	arch     string // "": this machine's
	index    bool   // in an index that has nothing else
	ballast  int    // MB of incompressible data in a second layer
}

func variants() []variant {
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	return []variant{
		{tag: "v1"},
		{tag: "v2"},
		{tag: "nohealth", noHealth: true},
		{tag: "exits", behave: "exit"},
		{tag: "unhealthy", behave: "unhealthy"},
		{tag: "slow", behave: "slow"},
		{tag: "big20", ballast: 20},
		{tag: "big100", ballast: 100},
		{tag: "otherarch", arch: other},
		{tag: "otherarch-index", arch: other, index: true},
	}
}

// checkTags refuses a tag that no variant has, before anything is made.
func checkTags(tags []string) error {
	var known []string
	for _, v := range variants() {
		known = append(known, v.tag)
	}
	for _, tag := range tags {
		if !slices.Contains(known, tag) {
			return fault.Errorf(fault.Misuse, "there is no sample image %q, only %s", tag, strings.Join(known, ", "))
		}
	}
	return nil
}

// pushImages builds the sample controller and pushes the variants with these
// tags; nil means all. The same source gives the same digests on every machine
// of one architecture with one Go version.
func pushImages(ctx context.Context, b Bed, tags []string) (map[string]Image, error) {
	binary := filepath.Join(b.Dir, "controller")
	if err := buildProgram(ctx, binary, controllerPackage); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	options, done, err := b.registryOptions(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	pushed := map[string]Image{}
	for _, v := range variants() {
		if tags != nil && !slices.Contains(tags, v.tag) {
			continue
		}
		if pushed[v.tag], err = v.push(b.Registry, program, options); err != nil {
			return nil, fmt.Errorf("push image %s: %w", v.tag, err)
		}
	}
	return pushed, nil
}

// SaveImage writes the image with the tag to file, in the form of docker save.
func (b Bed) SaveImage(ctx context.Context, tag, file string) error {
	reference, options, done, err := b.find(ctx, tag)
	if err != nil {
		return err
	}
	defer done()
	image, err := remote.Image(reference, options...)
	if err != nil {
		return fmt.Errorf("read image %s: %w", tag, err)
	}
	return tarball.WriteToFile(file, reference, image)
}

// find returns the reference of the sample image with the tag, and how to reach
// the registry until done.
func (b Bed) find(ctx context.Context, tag string) (reference name.Tag, options []remote.Option, done func(), err error) {
	known, err := b.Image(tag)
	if err != nil {
		return name.Tag{}, nil, nil, err
	}
	if reference, err = name.NewTag(known.Reference); err != nil {
		return name.Tag{}, nil, nil, err
	}
	options, done, err = b.registryOptions(ctx)
	return reference, options, done, err
}

// TagImage gives the sample image of one tag another tag in the same repository, also if
// that tag was another image's.
func (b Bed) TagImage(ctx context.Context, tag, as string) error {
	source, options, done, err := b.find(ctx, tag)
	if err != nil {
		return err
	}
	defer done()
	image, err := remote.Get(source, options...)
	if err != nil {
		return fmt.Errorf("read image %s: %w", tag, err)
	}
	return remote.Tag(source.Tag(as), image, options...)
}

// registryOptions returns the options for requests to the registry; done closes the
// connections.
func (b Bed) registryOptions(ctx context.Context) (options []remote.Option, done func(), err error) {
	client, err := b.registryClient()
	if err != nil {
		return nil, nil, err
	}
	token, err := b.Token()
	if err != nil {
		return nil, nil, err
	}
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithTransport(client.Transport),
		remote.WithAuth(&authn.Basic{Username: b.Username, Password: token}),
	}, client.CloseIdleConnections, nil
}

func buildProgram(ctx context.Context, binary, source string) error {
	_, err := run.Run(ctx, run.Cmd{
		Path: "go",
		Args: []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", binary, source},
		Env:  append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="),
	})
	if err != nil {
		return fmt.Errorf("build %s: %w", source, err)
	}
	return nil
}

// push builds the image and writes it to the registry.
func (v variant) push(registry string, program []byte, options []remote.Option) (Image, error) {
	image, err := v.build(program)
	if err != nil {
		return Image{}, err
	}
	reference := registry + "/" + Repository + ":" + v.tag
	if v.index {
		tag, err := name.NewTag(reference)
		if err != nil {
			return Image{}, err
		}
		index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: v.arch}},
		})
		if err := remote.WriteIndex(tag, index, options...); err != nil {
			return Image{}, err
		}
		digest, err := index.Digest()
		return Image{Reference: reference, ManifestDigest: digest.String()}, err
	}
	return writeImage(reference, image, options)
}

// writeImage pushes one image.
func writeImage(reference string, image v1.Image, options []remote.Option) (Image, error) {
	tag, err := name.NewTag(reference)
	if err != nil {
		return Image{}, err
	}
	if err := remote.Write(tag, image, options...); err != nil {
		return Image{}, err
	}
	manifest, err := image.Digest()
	if err != nil {
		return Image{}, err
	}
	config, err := image.ConfigName()
	return Image{Reference: reference, ManifestDigest: manifest.String(), ConfigDigest: config.String()}, err
}

// build makes the image: one layer with the program, perhaps one with ballast.
func (v variant) build(program []byte) (v1.Image, error) {
	layer, err := layerOf("controller", 0o755, program)
	if err != nil {
		return nil, err
	}
	layers := []v1.Layer{layer}
	if v.ballast > 0 {
		l, err := layerOf("ballast", 0o644, noise(v.ballast<<20))
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	if v.arch != "" {
		file.Architecture = v.arch
	}
	file.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	file.Config = v1.Config{
		Entrypoint:   []string{"/controller"},
		Env:          []string{"PATH=/", "FELHOM_SAMPLE_VERSION=" + v.tag, "FELHOM_SAMPLE_BEHAVE=" + v.behave},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "8081/tcp": {}},
		Labels:       map[string]string{"org.opencontainers.image.version": v.tag},
	}
	if !v.noHealth {
		file.Config.Healthcheck = &v1.HealthConfig{
			Test:     []string{"CMD", "/controller", "-health"},
			Interval: time.Second, Timeout: 2 * time.Second, Retries: 2,
		}
	}
	return mutate.ConfigFile(image, file)
}

func layerOf(name string, mode int64, data []byte) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	header := &tar.Header{Name: name, Mode: mode, Size: int64(len(data)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
}

// noise returns n bytes that do not compress, the same each time (xorshift64).
func noise(n int) []byte {
	data := make([]byte, n)
	x := uint64(88172645463325252)
	for i := 0; i+8 <= n; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for j := range 8 {
			data[i+j] = byte(x >> (8 * j))
		}
	}
	return data
}

func joinKeys[V any](m map[string]V) string { return strings.Join(sortedKeys(m), ",") }
