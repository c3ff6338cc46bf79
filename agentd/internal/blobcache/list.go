package blobcache

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Blob is one that is on disk.
type Blob struct {
	Digest string    `json:"digest"`
	Size   int64     `json:"size"`
	Used   time.Time `json:"used"` // to the hour
	name   string
}

// List returns the blobs of the cache in dir, the last used first. It may be
// called while a daemon uses the cache. A directory that does not exist is empty.
func List(dir string) ([]Blob, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list blob cache: %w", err)
	}
	blobs, err := listBlobs(root)
	return blobs, errors.Join(err, root.Close())
}

func listBlobs(root *os.Root) ([]Blob, error) {
	var out []Blob
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // dropped meanwhile
		}
		if err != nil || !isName(name) || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		_, base, _ := strings.Cut(name, "/")
		out = append(out, Blob{Digest: "sha256:" + base, Size: info.Size(), Used: info.ModTime().UTC().Truncate(time.Second), name: name})
		return nil
	})
	slices.SortFunc(out, func(a, b Blob) int { return cmp.Or(b.Used.Compare(a.Used), strings.Compare(a.name, b.name)) })
	return out, err
}

// Prune removes the blobs of the cache in dir that were not used since before,
// and returns them. It may be called while a daemon uses the cache, which
// notices at the next use.
func Prune(dir string, before time.Time) (removed []Blob, err error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("prune blob cache: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	blobs, err := listBlobs(root)
	if err != nil {
		return nil, err
	}
	for _, b := range blobs {
		if !b.Used.Before(before) {
			continue
		}
		if err := root.Remove(b.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("prune blob cache: %w", err)
		}
		removed = append(removed, b)
	}
	return removed, nil
}
