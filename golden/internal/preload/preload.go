// Package preload fetches the container images that a golden image brings along,
// so that its first boot pulls nothing. Call [Fetch] for each image, or [Check]
// without downloading it, and [Index] for the list that the guest reads.
//
// Images come from a registry, a Docker archive or an OCI archive or layout, and
// become Docker archives. No engine is needed. Registry credentials come from
// the user's Docker configuration and never reach the golden image.
package preload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/scratch"
)

// maxMember bounds one member of an OCI archive that is unpacked.
const maxMember = 8 << 30

// Want is one image to bring along.
type Want struct {
	Reference string // as the guest will ask for it
	Archive   string // Docker or OCI archive, or OCI layout directory; "" is the registry
}

// Image is one image that was brought along.
type Image struct {
	Reference      string
	ConfigDigest   string
	ManifestDigest string // as in its registry; "" when the archive did not keep it
	IndexDigest    string // of the multi-platform index it was chosen from; "" without one
	File           string // base name in contract.PreloadDir
	Path           string // the archive on this machine

	// Names are those that the archive it came from gives it. Images of a
	// registry, and of archives that name nothing, have none.
	Names []string `json:"-"`
}

// Index returns the index of images for the guest. What the guest's parser
// would refuse is refused here.
func Index(images []Image) ([]byte, error) {
	var index contract.Preload
	for _, img := range images {
		entry, err := img.entry()
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, fmt.Errorf("write index of images: %s: %w", img.Reference, err))
		}
		index.Images = append(index.Images, entry)
	}
	data, err := index.Encode()
	return data, fault.Wrap(fault.Invalid, err)
}

func (i Image) entry() (entry contract.PreloadImage, err error) {
	entry.File = i.File
	if entry.Reference, err = contract.ParseImageRef(i.Reference); err != nil {
		return entry, err
	}
	if entry.ConfigDigest, err = contract.ParseDigest(i.ConfigDigest); err != nil || i.ManifestDigest == "" {
		return entry, err
	}
	entry.ManifestDigest, err = contract.ParseDigest(i.ManifestDigest)
	return entry, err
}

// Fetch gives want's image as a Docker archive in cache, which is used again
// when the same image is there. arch is a Debian architecture.
func Fetch(ctx context.Context, want Want, arch, cache string) (Image, error) {
	ref, err := name.ParseReference(want.Reference)
	if err != nil {
		return Image{}, fault.Wrap(fault.Invalid, fmt.Errorf("preload %s: %w", want.Reference, err))
	}
	dir, err := cachedir.Open(cache)
	if err != nil {
		return Image{}, fmt.Errorf("preload %s: %w", want.Reference, err)
	}
	var image Image
	err = dir.Scratch(func(work string) (err error) {
		image, err = fetch(ctx, want, ref, v1.Platform{OS: "linux", Architecture: arch}, dir, work)
		return err
	})
	if err := errors.Join(err, dir.Close()); err != nil {
		return Image{}, fmt.Errorf("preload %s: %w", want.Reference, err)
	}
	return image, nil
}

// Check finds want's image as [Fetch] does, and downloads none of its layers. The
// image that it returns is not in any file.
func Check(ctx context.Context, want Want, arch string) (image Image, err error) {
	ref, err := name.ParseReference(want.Reference)
	if err != nil {
		return Image{}, fault.Wrap(fault.Invalid, fmt.Errorf("preload %s: %w", want.Reference, err))
	}
	work, err := scratch.New("")
	if err != nil {
		return Image{}, fmt.Errorf("preload %s: %w", want.Reference, err)
	}
	_, image, err = find(ctx, want, ref, v1.Platform{OS: "linux", Architecture: arch}, work.Path)
	if err := errors.Join(err, work.Close()); err != nil {
		return Image{}, fmt.Errorf("preload %s: %w", want.Reference, err)
	}
	return image, nil
}

func fetch(ctx context.Context, want Want, ref name.Reference, platform v1.Platform, cache *cachedir.Dir, work string) (Image, error) {
	img, out, err := find(ctx, want, ref, platform, work)
	if err != nil {
		return Image{}, err
	}
	key, _, err := v1.SHA256(strings.NewReader(want.Reference + "\n" + out.ConfigDigest + "\n" + out.ManifestDigest))
	if err != nil {
		return Image{}, err
	}
	out.File = key.Hex[:16] + ".tar"
	out.Path = cache.Path(out.File)
	if _, err := os.Stat(out.Path); err == nil {
		return out, nil
	}
	if want.Archive != "" { // a registry's client checks what it reads
		err := checkLayers(ctx, img)
		if err != nil && out.ManifestDigest == "" { // a Docker archive
			img, err = unpackEach(ctx, img, err)
		}
		if err != nil {
			return Image{}, want.judge(err)
		}
	}
	return out, cache.WriteFile(out.File, func(w io.Writer) error { return classify(tarball.Write(ref, img, w)) })
}

// find opens want's image and reads what it is.
func find(ctx context.Context, want Want, ref name.Reference, platform v1.Platform, work string) (v1.Image, Image, error) {
	source, err := open(ctx, want, ref, platform, work)
	if err != nil {
		return nil, Image{}, err
	}
	img := source.image
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, Image{}, want.judge(err)
	}
	if cfg.OS != "linux" || cfg.Architecture != platform.Architecture {
		return nil, Image{}, fault.WrapHint(fault.Invalid, fmt.Errorf("want an image for linux/%s, got %s/%s", platform.Architecture, cfg.OS, cfg.Architecture), "the image must fit arch in the recipe")
	}
	config, err := img.ConfigName()
	if err != nil {
		return nil, Image{}, want.judge(err)
	}
	out := Image{Reference: want.Reference, ConfigDigest: config.String(), IndexDigest: source.index, Names: source.names}
	if source.hasManifest {
		digest, err := img.Digest()
		if err != nil {
			return nil, Image{}, want.judge(err)
		}
		out.ManifestDigest = digest.String()
	}
	return img, out, nil
}

// source is where an image was found.
type source struct {
	image       v1.Image
	hasManifest bool   // the registry's own: a Docker archive does not keep it
	index       string // digest of the multi-platform index; "" without one
	names       []string
}

func open(ctx context.Context, want Want, ref name.Reference, platform v1.Platform, work string) (source, error) {
	if want.Archive == "" {
		d, err := remote.Get(ref, remote.WithContext(ctx), remote.WithPlatform(platform), remote.WithAuthFromKeychain(authn.DefaultKeychain))
		if err != nil {
			return source{}, classify(err)
		}
		s := source{hasManifest: true}
		if d.MediaType.IsIndex() {
			s.index = d.Digest.String()
		}
		s.image, err = d.Image()
		return s, classify(err)
	}
	info, err := os.Stat(want.Archive)
	if err != nil {
		return source{}, fault.WrapHint(fault.Invalid, err, "look at archive in the recipe: relative paths start at the recipe's directory")
	}
	dir := want.Archive
	if !info.IsDir() {
		in, err := look(want.Archive)
		if err != nil {
			return source{}, err
		}
		if _, isDocker := in[dockerManifest]; isDocker { // newer engines write an OCI layout beside it
			return fromDocker(want.Archive, ref, in)
		}
		dir = filepath.Join(work, "layout")
		if err := unpack(want.Archive, dir); err != nil {
			return source{}, err
		}
	}
	return fromLayout(want.Archive, dir, ref, platform)
}

func refused(archive string, err error) error {
	return fault.WrapHint(fault.Invalid, fmt.Errorf("read %s: %w", archive, err), "want what \"docker save\" writes, or an OCI archive or layout")
}

// judge gives an error of reading the image its class.
func (w Want) judge(err error) error {
	if w.Archive == "" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return classify(err)
	}
	return refused(w.Archive, err)
}

// classify gives what the registry said its class.
func classify(err error) error {
	var te *transport.Error
	var ne net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &te):
		switch te.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fault.WrapHint(fault.Mismatch, err, "log in with \"docker login\" as the user who builds, or give the image as an archive")
		case http.StatusNotFound:
			return fault.WrapHint(fault.Invalid, err, "the registry does not have this image: look at its name and tag in the recipe")
		}
		return fault.WrapHint(fault.NotReady, err, "the registry is not well: try again")
	case errors.As(err, &ne):
		return fault.WrapHint(fault.NotReady, err, "the registry does not answer: try again, or give the image as an archive")
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.Invalid, err)
	}
	return err
}
