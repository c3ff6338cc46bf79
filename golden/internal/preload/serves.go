package preload

import (
	"fmt"

	"github.com/felhom/felhom-golden/internal/contract"
)

// Warnings says which guests will pull the image in place of loading it, by the
// rule of [contract.PreloadImage.Serves], which guests follow. A guest without
// pins and one that pins the config digest are always served.
func (i Image) Warnings() ([]string, error) {
	entry, err := i.entry()
	if err != nil {
		return nil, err
	}
	var none contract.Digest
	fits := "pin controller_image_config_digest " + i.ConfigDigest
	if pin := entry.Reference.Digest(); !pin.IsZero() {
		if entry.Serves(none, pin) != nil {
			return []string{fmt.Sprintf("image %s: no guest without a pin of the config digest is served, they pull: the reference has another digest than the archive's manifest (%s); %s",
				i.Reference, orNone(i.ManifestDigest), fits)}, nil
		}
		return nil, nil
	}
	var list []string
	if i.ManifestDigest == "" {
		list = append(list, fmt.Sprintf("image %s: guests that pin the manifest digest alone are not served, they pull: its archive did not keep the manifest; %s", i.Reference, fits))
	}
	if i.IndexDigest != "" {
		list = append(list, fmt.Sprintf("image %s: guests that pin its multi-platform index %s are not served, they pull; pin the manifest %s", i.Reference, i.IndexDigest, i.ManifestDigest))
	}
	return list, nil
}

func orNone(digest string) string {
	if digest == "" {
		return "it has none"
	}
	return digest
}
