package contract

import (
	"errors"
	"fmt"
	"strings"

	"github.com/felhom/felhom-golden/internal/jsondoc"
)

// Where a golden image carries preloaded images, and the index of them.
const (
	PreloadDir   = "/usr/lib/felhom/images"
	PreloadIndex = "index.json"
)

// MaxPreloadBytes is the largest index that [ParsePreload] accepts.
const MaxPreloadBytes = 1 << 20

// Preload is the index of the images baked into a golden image.
type Preload struct {
	Images []PreloadImage
}

// PreloadImage is one image that a guest can load in place of pulling it.
type PreloadImage struct {
	Reference      ImageRef // reference: what it is tagged as once loaded
	ConfigDigest   Digest   // config_digest: the image ID of graph-driver engines
	ManifestDigest Digest   // manifest_digest, optional: of the registry's manifest it was made from
	File           string   // file: base name beside the index, a docker archive, ".tar"
}

// Find returns the image that is stored for ref.
func (p Preload) Find(ref ImageRef) (PreloadImage, bool) {
	for _, image := range p.Images {
		if image.Reference == ref {
			return image, true
		}
	}
	return PreloadImage{}, false
}

// Serves returns nil if the image is the one that a guest with these pins wants;
// a zero digest is not pinned. The manifest pin of a reference by digest is a
// pin like any other. Otherwise the guest pulls, and the error says why. One
// matching pin is enough: either digest identifies the whole content.
func (i PreloadImage) Serves(config, manifest Digest) error {
	switch {
	case config.IsZero() && manifest.IsZero(), !config.IsZero() && config == i.ConfigDigest:
		return nil
	case !config.IsZero():
		return fmt.Errorf("%s: want config digest %s, got %s", i.File, config, i.ConfigDigest)
	case i.ManifestDigest.IsZero():
		return fmt.Errorf("%s: want manifest digest %s, but its archive did not keep the manifest: pin controller_image_config_digest %s as well",
			i.File, manifest, i.ConfigDigest)
	case manifest != i.ManifestDigest:
		return fmt.Errorf("%s: want manifest digest %s, got %s", i.File, manifest, i.ManifestDigest)
	}
	return nil
}

type preloadFile struct {
	Images []preloadImageFile `json:"images"`
}

type preloadImageFile struct {
	Reference      string `json:"reference"`
	ConfigDigest   string `json:"config_digest"`
	ManifestDigest string `json:"manifest_digest,omitempty"`
	File           string `json:"file"`
}

// ParsePreload reads an index. An error is a *[jsondoc.InvalidError].
func ParsePreload(data []byte) (Preload, error) {
	d := jsondoc.Read(data, format("index", MaxPreloadBytes))
	p := parsePreload(d)
	if err := d.Findings().Err(); err != nil {
		return Preload{}, err
	}
	return p, nil
}

func parsePreload(d *jsondoc.Document) (p Preload) {
	o := d.Root([]string{"images"})
	if o == nil {
		return p
	}
	o.Need("images", "it lists the images")
	list, ok := o.Get("images", jsondoc.KindArray)
	if !ok {
		return p
	}
	files, refs := map[string]bool{}, map[ImageRef]bool{}
	for i, item := range list.Items {
		path := fmt.Sprintf("images[%d]", i)
		image := d.Object(item, path, []string{"reference", "config_digest", "manifest_digest", "file"})
		if image == nil {
			continue
		}
		for _, key := range []string{"reference", "config_digest", "file"} {
			image.Need(key, "every image has it")
		}
		var out PreloadImage
		out.Reference, _ = jsondoc.Text(image, "reference", RuleImage, ParseImageRef)
		out.ConfigDigest, _ = jsondoc.Text(image, "config_digest", RuleDigest, ParseDigest)
		out.ManifestDigest, _ = jsondoc.Text(image, "manifest_digest", RuleDigest, ParseDigest)
		out.File, _ = jsondoc.Text(image, "file", RulePreload, checked(checkArchiveName))
		if out.File != "" && files[out.File] {
			d.Errorf(RulePreload, item, path+".file", "an earlier image has this file")
		}
		if !out.Reference.IsZero() && refs[out.Reference] {
			d.Errorf(RulePreload, item, path+".reference", "an earlier image has this reference")
		}
		files[out.File], refs[out.Reference] = true, true
		p.Images = append(p.Images, out)
	}
	return p
}

// checkArchiveName accepts a base name only, so that an index cannot point out
// of its directory.
func checkArchiveName(s string) error {
	switch {
	case !strings.HasSuffix(s, ".tar") || s == ".tar":
		return errors.New(`the file is not a docker archive; its name ends in ".tar"`)
	case len(s) > 255 || s[0] == '.' || strings.ContainsFunc(s, func(c rune) bool {
		return c > 0x7f || !isAlnum(byte(c)) && !strings.ContainsRune("._-", c)
	}):
		return errors.New("write the name of a file beside the index: letters, digits, dots, hyphens and underscores, at most 255")
	}
	return nil
}

// Encode returns the index as it is written. It reads the result back with
// [ParsePreload]; an error says which values are not valid.
func (p Preload) Encode() ([]byte, error) {
	file := preloadFile{Images: make([]preloadImageFile, len(p.Images))}
	for i, image := range p.Images {
		file.Images[i] = preloadImageFile{
			Reference: image.Reference.String(), ConfigDigest: image.ConfigDigest.String(),
			ManifestDigest: image.ManifestDigest.String(), File: image.File,
		}
	}
	data, err := encodeJSON(file)
	if err != nil {
		return nil, fmt.Errorf("encode index of preloaded images: %w", err)
	}
	if _, err := ParsePreload(data); err != nil {
		return nil, fmt.Errorf("encode index of preloaded images: %w", err)
	}
	return data, nil
}
