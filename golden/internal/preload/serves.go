package preload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Keys by which an OCI layout names its images: a tag or a whole reference, and
// what BuildKit and containerd add to it.
const (
	refNameKey   = "org.opencontainers.image.ref.name"
	imageNameKey = "io.containerd.image.name"
)

// Warnings reports whether the archive of the image names another image than the
// reference, and which guests will pull it in place of loading it.
func (i Image) Warnings() ([]string, error) {
	entry, err := i.entry()
	if err != nil {
		return nil, err
	}
	list := i.unserved(entry)
	if !i.isNamed() {
		list = append([]string{fmt.Sprintf("image %s: its archive has another name for it: %s; guests load it as %s: look whether this is the archive that was meant",
			i.Reference, termtext.Line(strings.Join(i.Names, ", "), maxNames), i.Reference)}, list...)
	}
	return list, nil
}

// maxNames bounds what a warning repeats of an archive's names, in bytes.
const maxNames = 300

// isNamed reports whether one of the archive's names is that of the reference. An
// archive without names fits every reference; a digest, which the archive's
// names do not have, fits each name of its repository, and a tag alone.
func (i Image) isNamed() bool {
	ref, err := name.ParseReference(i.Reference)
	if err != nil || len(i.Names) == 0 {
		return true // another finding, if it is one
	}
	_, isDigest := ref.(name.Digest)
	return slices.ContainsFunc(i.Names, func(text string) bool {
		if !strings.ContainsAny(text, "/:") { // a tag, or a name of one word
			return text == ref.Identifier() || isDigest || isSame(text, ref)
		}
		return isSame(text, ref)
	})
}

func isSame(text string, ref name.Reference) bool {
	got, err := name.ParseReference(text)
	if err != nil {
		return false
	}
	if _, isDigest := ref.(name.Digest); isDigest {
		return got.Context().Name() == ref.Context().Name()
	}
	return got.Name() == ref.Name()
}

// namesOf returns the name that an index has for an image, the whole one if it
// has that too.
func namesOf(d v1.Descriptor) []string {
	for _, key := range []string{imageNameKey, refNameKey} {
		if text := d.Annotations[key]; text != "" {
			return []string{text}
		}
	}
	return nil
}

// unserved says which guests will pull the image, by the rule of
// [contract.PreloadImage.Serves], which guests follow. A guest without pins and
// one that pins the config digest are always served.
func (i Image) unserved(entry contract.PreloadImage) (list []string) {
	var none contract.Digest
	fits := "pin controller_image_config_digest " + i.ConfigDigest
	if pin := entry.Reference.Digest(); !pin.IsZero() {
		if entry.Serves(none, pin) != nil {
			return []string{fmt.Sprintf("image %s: no guest without a pin of the config digest is served, they pull: the reference has another digest than the archive's manifest (%s); %s",
				i.Reference, orNone(i.ManifestDigest), fits)}
		}
		return nil
	}
	if i.ManifestDigest == "" {
		list = append(list, fmt.Sprintf("image %s: guests that pin the manifest digest alone are not served, they pull: its archive did not keep the manifest; %s", i.Reference, fits))
	}
	if i.IndexDigest != "" {
		list = append(list, fmt.Sprintf("image %s: guests that pin its multi-platform index %s are not served, they pull; pin the manifest %s", i.Reference, i.IndexDigest, i.ManifestDigest))
	}
	return list
}

func orNone(digest string) string {
	if digest == "" {
		return "it has none"
	}
	return digest
}
