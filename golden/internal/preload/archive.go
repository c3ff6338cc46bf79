package preload

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// The limits of an archive beside its own size, which its members cannot exceed.
const (
	maxMembers  = 100_000
	maxDocument = 16 << 20 // a manifest, an index or a configuration; registries accept 4 MiB
	maxNested   = 8        // indexes within each other
)

const (
	dockerManifest = "manifest.json" // of "docker save"
	layoutMarker   = "oci-layout"
)

// members are the members of an archive by their clean names. Of a name that is
// there again it is the largest size; -1 is that of a link, unless a file was before it.
type members map[string]int64

// look reads the members' names and sizes. An archive that says more than it has is
// refused: a sparse file of some bytes fills a disk or the memory when it is read.
func look(archive string) (_ members, err error) {
	f, err := regular.Open(archive)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	found, left := members{}, info.Size()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, refused(archive, err)
		}
		name := path.Clean(h.Name)
		if left -= max(h.Size, 0); left < 0 {
			return nil, refused(archive, fmt.Errorf("%q: with it, the members have more bytes than the archive: it has sparse files", name))
		}
		if len(found) == maxMembers {
			return nil, refused(archive, fmt.Errorf("it exceeds the limit of %d members", maxMembers))
		}
		size, again := found[name]
		switch {
		case h.Typeflag == tar.TypeReg && size >= 0: // a link before it is what readers follow
			found[name] = max(size, h.Size)
		case h.Typeflag != tar.TypeDir && !again:
			found[name] = -1
		}
	}
	_, isDocker := found[dockerManifest]
	if _, isLayout := found[layoutMarker]; !isDocker && !isLayout {
		return nil, refused(archive, fmt.Errorf("neither %s nor %s is in it", dockerManifest, layoutMarker))
	}
	return found, nil
}

// document returns an error unless a member is a file that may be read at once.
func (m members) document(name string) error {
	switch size, exists := m[path.Clean(name)]; {
	case !exists:
		return fmt.Errorf("%q is not in it", name)
	case size < 0:
		return fmt.Errorf("%q is not a regular file", name)
	case size > maxDocument:
		return fmt.Errorf("%q has %d bytes and exceeds the limit of %d", name, size, maxDocument)
	}
	return nil
}

func fromDocker(archive string, ref name.Reference, in members) (source, error) {
	if err := in.document(dockerManifest); err != nil {
		return source{}, refused(archive, err)
	}
	list, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return regular.Open(archive) })
	if err != nil {
		return source{}, refused(archive, err)
	}
	for _, image := range list {
		if err := in.document(image.Config); err != nil {
			return source{}, refused(archive, err)
		}
	}
	if tag, ok := ref.(name.Tag); ok {
		if img, err := tarball.ImageFromPath(archive, &tag); err == nil {
			return source{image: img, names: []string{tag.Name()}}, nil
		}
	}
	// One image under another name, or under none, is meant as well.
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return source{}, refused(archive, err)
	}
	return source{image: img, names: list[0].RepoTags}, nil // it has one, or there was no image
}

// fromLayout opens the image of an OCI layout in dir; archive is its name in errors.
func fromLayout(archive, dir string, ref name.Reference, platform v1.Platform) (source, error) {
	if _, err := regular.Read(filepath.Join(dir, "index.json"), maxDocument); err != nil {
		return source{}, refused(archive, err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return source{}, refused(archive, err)
	}
	s, err := chooser{dir, ref, platform}.choose(index, maxNested)
	if err != nil && fault.Of(err) != fault.Invalid {
		err = refused(archive, err)
	}
	return s, err
}

// chooser finds an image in a layout.
type chooser struct {
	dir      string
	ref      name.Reference
	platform v1.Platform
}

// choose finds the image for the platform, going into nested indexes.
func (c chooser) choose(index v1.ImageIndex, depth int) (source, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return source{}, err
	}
	var fitting []v1.Descriptor
	for _, d := range m.Manifests {
		if d.Platform == nil || d.Platform.Satisfies(c.platform) {
			fitting = append(fitting, d)
		}
	}
	if len(fitting) > 1 {
		// Several images: that of the name, by the key of the OCI image layout.
		for _, d := range fitting {
			if n := d.Annotations[refNameKey]; n != "" && (n == c.ref.Identifier() || n == c.ref.String() || n == c.ref.Name()) {
				fitting = []v1.Descriptor{d}
				break
			}
		}
	}
	if len(fitting) != 1 {
		return source{}, fault.WrapHint(fault.Invalid, fmt.Errorf("want one image for %s/%s, got %d", c.platform.OS, c.platform.Architecture, len(fitting)), "give an archive with that one image")
	}
	digest := fitting[0].Digest
	if err := c.check(digest); err != nil {
		return source{}, err
	}
	if fitting[0].MediaType.IsIndex() {
		if depth == 0 {
			return source{}, fmt.Errorf("indexes within each other exceed the limit of %d", maxNested)
		}
		sub, err := index.ImageIndex(digest)
		if err != nil {
			return source{}, err
		}
		s, err := c.choose(sub, depth-1)
		if err != nil {
			return source{}, err
		}
		if s.index == "" { // the innermost one has the image
			s.index = digest.String()
		}
		s.names = append(s.names, namesOf(fitting[0])...)
		return s, nil
	}
	img, err := index.Image(digest)
	if err != nil {
		return source{}, err
	}
	manifest, err := img.Manifest()
	if err == nil {
		err = c.check(manifest.Config.Digest)
	}
	if err != nil {
		return source{}, err
	}
	return source{image: img, hasManifest: true, names: namesOf(fitting[0])}, nil
}

// check returns an error unless a document of the layout has its digest: the library
// that reads it does not look. An index could name itself otherwise.
func (c chooser) check(digest v1.Hash) error {
	data, err := regular.Read(filepath.Join(c.dir, "blobs", digest.Algorithm, digest.Hex), maxDocument)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != digest.Hex {
		return fmt.Errorf("the content of %s has the digest sha256:%x", digest, sum)
	}
	return nil
}

// checkLayers returns an error unless the content of each layer is what the
// configuration says: an engine refuses others, at the first start of each guest.
func checkLayers(ctx context.Context, img v1.Image) error {
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if want := config.RootFS.DiffIDs; len(want) != len(layers) {
		return fmt.Errorf("its configuration has %d layers, and its manifest %d", len(want), len(layers))
	}
	for i, layer := range layers {
		if err := checkLayer(ctx, layer, config.RootFS.DiffIDs[i]); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return nil
}

func checkLayer(ctx context.Context, layer v1.Layer, want v1.Hash) (err error) {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	sum := sha256.New()
	if _, err := io.Copy(sum, vzdump.WithContext(ctx, content)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.Hex {
		return fmt.Errorf("want the content %s, got sha256:%s", want, got)
	}
	return nil
}

// unpackEach returns the image of a Docker archive with each layer unpacked that is packed, or why if its layers are other ones
// then too. The library goes by the first layer: where that one is not packed, it unpacks none. But an engine that keeps layers as it
// gets them saves those of a loaded image and those that a build has added in one archive.
func unpackEach(ctx context.Context, img v1.Image, why error) (v1.Image, error) {
	mixed, err := partial.UncompressedToImage(mixedImage{img})
	if err == nil {
		err = checkLayers(ctx, mixed)
	}
	if err != nil && ctx.Err() == nil {
		err = why
	}
	return mixed, err
}

// mixedImage looks at each layer whether it is packed.
type mixedImage struct{ v1.Image }

// LayerByDiffID implements [partial.UncompressedImageCore].
func (i mixedImage) LayerByDiffID(id v1.Hash) (partial.UncompressedLayer, error) {
	layer, err := i.Image.LayerByDiffID(id)
	return mixedLayer{layer}, err
}

type mixedLayer struct{ v1.Layer }

// Uncompressed implements [partial.UncompressedLayer].
func (l mixedLayer) Uncompressed() (io.ReadCloser, error) {
	stored, err := partial.CompressedToLayer(storedLayer(l))
	if err != nil {
		return nil, err
	}
	return stored.Uncompressed()
}

// storedLayer gives out a layer as the archive has it.
type storedLayer struct{ v1.Layer }

// Compressed implements [partial.CompressedLayer].
func (l storedLayer) Compressed() (io.ReadCloser, error) { return l.Uncompressed() }

func unpack(archive, dir string) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	f, err := regular.Open(archive)
	if err != nil {
		return errors.Join(err, root.Close())
	}
	defer func() { err = errors.Join(err, f.Close(), root.Close()) }()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return refused(archive, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue // directories are made as needed; a layout has nothing else
		}
		if h.Size > maxMember {
			return refused(archive, fmt.Errorf("%s: want at most %d bytes, got %d", h.Name, int64(maxMember), h.Size))
		}
		if err := writeMember(root, path.Clean(h.Name), tr); err != nil {
			return refused(archive, err)
		}
	}
}

func writeMember(root *os.Root, member string, r io.Reader) (err error) {
	if err := root.MkdirAll(path.Dir(member), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(member, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
