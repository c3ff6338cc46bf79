package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// imageRemover is the part of the engine that removes images.
type imageRemover interface {
	RemoveImage(ctx context.Context, id, ref string) error
}

// prune removes the images that this program no longer needs: all that it used
// but the one in use and the one before. An image that some other container
// uses stays, and is tried again after the next run. It returns what it removed.
func (m *memory) prune(ctx context.Context, engine imageRemover) (removed []string, err error) {
	var left []knownImage
	for _, img := range m.Old {
		if slices.Contains([]string{m.Image.ID, m.Before.ID}, img.ID) {
			continue // it is needed again
		}
		switch err := engine.RemoveImage(ctx, img.ID, img.Ref); {
		case err == nil:
			removed = append(removed, img.Ref)
		case !errors.Is(err, docker.ErrNotFound):
			left = append(left, img)
		}
	}
	if len(left) == len(m.Old) {
		return removed, nil
	}
	m.Old = left
	if err := m.save(); err != nil {
		return removed, fmt.Errorf("remove old images: %w", err)
	}
	return removed, nil
}

// makeRoom removes the image before as well, for a pull that has too little space.
func (m *memory) makeRoom(ctx context.Context, engine imageRemover) error {
	m.drop(m.Before)
	m.Before = knownImage{}
	_, err := m.prune(ctx, engine)
	return err
}
