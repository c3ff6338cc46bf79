package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// preloaded returns the preloaded image that serves this guest, without a file if
// none does. The error says why one does not.
func (s imageStep) preloaded() (contract.PreloadImage, error) {
	path := filepath.Join(s.preload, contract.PreloadIndex)
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return contract.PreloadImage{}, nil
	}
	if err != nil {
		return contract.PreloadImage{}, err
	}
	index, err := contract.ParsePreload(data)
	if err != nil {
		return contract.PreloadImage{}, fmt.Errorf("%s: %w", path, err)
	}
	entry, ok := index.Find(s.ref)
	if !ok {
		return contract.PreloadImage{}, nil
	}
	if err := entry.Serves(s.config, s.wantManifest()); err != nil {
		return contract.PreloadImage{}, err
	}
	return entry, nil
}

// mark is the name that a loaded image gets in a store that assigns its own ID, so
// that a later run knows where the image came from. ".invalid" is never a registry's
// (RFC 2606), so no pull can give it.
func mark(entry contract.PreloadImage) string {
	return "preloaded.invalid/felhom:" + entry.ConfigDigest.Hex()
}

// loadedFrom reports whether found is the image of the archive. In the older
// store the ID shows that. Containerd's store has the registry's manifest if
// the archive kept it, or else one that it made itself, which the mark names.
func (s imageStep) loadedFrom(ctx context.Context, entry contract.PreloadImage, found docker.Image) (bool, error) {
	if !found.Containerd {
		return found.ID == entry.ConfigDigest.String(), nil
	}
	if found.ID == entry.ManifestDigest.String() {
		return true, nil
	}
	marked, err := s.store.Image(ctx, mark(entry))
	if errors.Is(err, docker.ErrNotFound) {
		return false, nil
	}
	return marked.ID == found.ID, err
}

// load loads the archive and checks that it contained the image of the index.
func (s imageStep) load(ctx context.Context, entry contract.PreloadImage, note func(string)) (image, error) {
	note("loading " + entry.File)
	loaded, err := s.store.Load(ctx, filepath.Join(s.preload, entry.File))
	if err != nil {
		return image{}, err
	}
	// The names that the engine reports as loaded come before the reference,
	// which may still be an older image's.
	names := []string{entry.ConfigDigest.String(), s.ref.String()}
	if len(loaded) == 1 {
		names = []string{entry.ConfigDigest.String(), loaded[0]}
	}
	for _, name := range names {
		img, err := s.store.Image(ctx, name)
		if errors.Is(err, docker.ErrNotFound) {
			continue
		}
		if err != nil {
			return image{}, err
		}
		if !img.Containerd && img.ID != entry.ConfigDigest.String() {
			return image{}, fmt.Errorf("%s: want config digest %s, got %s", entry.File, entry.ConfigDigest, img.ID)
		}
		if img.Containerd && img.ID != entry.ManifestDigest.String() {
			if err := s.store.Tag(ctx, img.ID, mark(entry)); err != nil {
				return image{}, err
			}
		}
		return s.name(ctx, img)
	}
	return image{}, fmt.Errorf("%s: after the load the engine has no image %s", entry.File, s.ref)
}

// name returns a loaded image by the reference, if that is its name.
func (s imageStep) name(ctx context.Context, found docker.Image) (image, error) {
	if s.ref.Digest().IsZero() {
		if err := s.store.Tag(ctx, found.ID, s.ref.String()); err != nil {
			return image{}, err
		}
		return s.take(found, s.ref.String())
	}
	return s.take(found, found.ID)
}
