package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/golden/internal/debroot"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

// layersKept is how many finished bases stay in the cache. One is about 400 MB.
const layersKept = 6

// Cache keeps finished roots by their key. Only one build makes a root at a
// time, and one that was killed leaves nothing that looks finished.
type Cache struct {
	Dir string
}

// Layer is a finished root in the cache, locked against removal until Close.
type Layer struct {
	Key    string
	Root   string // directory of the root file system; not to be written to
	Reused bool
	lock   *os.File
}

// Close lets others remove the layer.
func (l *Layer) Close() error {
	if l.lock == nil {
		return nil
	}
	return filelock.Close(l.lock)
}

// Layer gives the root of key, and calls build to make it in an empty directory
// when it is not there. waiting is called once when another build is making it.
func (c Cache) Layer(ctx context.Context, key string, waiting func(), build func(ctx context.Context, root string) error) (_ *Layer, err error) {
	for _, dir := range []string{"layers", "locks"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("open cache: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(c.Dir, "locks", key), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	l := &Layer{Key: key, Root: filepath.Join(c.Dir, "layers", key, "root"), lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for first := true; ; first = false {
		if err := take(ctx, lock, filelock.Shared, waiting); err != nil {
			return nil, err
		}
		if c.finished(key) {
			l.Reused = first
			now := time.Now() // when it was last used, for removal only
			return l, os.Chtimes(filepath.Join(c.Dir, "layers", key), now, now)
		}
		if err := take(ctx, lock, filelock.Exclusive, waiting); err != nil {
			return nil, err
		}
		if c.finished(key) {
			continue
		}
		if err := c.make(ctx, key, build); err != nil {
			return nil, err
		}
		// Taking the shared lock may let another process remove the layer: look again.
	}
}

// finished reports whether key is there and can be trusted. After a restart of the
// machine it cannot: its data may have been lost with the power while its name
// was kept.
func (c Cache) finished(key string) bool {
	data, err := regular.Read(filepath.Join(c.Dir, "layers", key, "boot-id"), 4096)
	return err == nil && string(data) == bootID()
}

func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}

func (c Cache) make(ctx context.Context, key string, build func(ctx context.Context, root string) error) (err error) {
	layers, err := cachedir.Open(filepath.Join(c.Dir, "layers"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layers.Close()) }()
	return layers.MakeDir(key, func(dir string) error {
		root := filepath.Join(dir, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			return fmt.Errorf("open cache: %w", err)
		}
		if err := build(ctx, root); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "boot-id"), []byte(bootID()), 0o600); err != nil {
			return fmt.Errorf("finish base: %w", err)
		}
		return nil
	})
}

// Trim removes the bases that were used longest ago and are not in use now, the
// same of packages, and what killed builds left.
func (c Cache) Trim() error {
	return errors.Join(c.trimLayers(), debroot.Trim(c.Dir))
}

func (c Cache) trimLayers() (err error) {
	layers, err := cachedir.Open(filepath.Join(c.Dir, "layers"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layers.Close()) }()
	return layers.Trim(layersKept, func(key string) error { return c.remove(key, layers.Path(key)) })
}

// remove removes the layer of key, which is at path, unless it is in use.
func (c Cache) remove(key, path string) (err error) {
	lock, err := os.OpenFile(filepath.Join(c.Dir, "locks", key), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("trim cache: %w", err)
	}
	defer func() { err = errors.Join(err, filelock.Close(lock)) }()
	if filelock.Try(lock, filelock.Exclusive) != nil {
		return nil // in use
	}
	return os.RemoveAll(path)
}

// take waits for the lock until ctx is done.
func take(ctx context.Context, f *os.File, kind filelock.Kind, waiting func()) error {
	err := filelock.TakeWhenFree(ctx, f, kind, waiting)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fault.Wrap(fault.Of(cause), fmt.Errorf("wait for another build: %w", cause))
	}
	return err
}

// describe writes v beside the root of key, for people who look into the cache.
func describe(root string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(root), "plan.json"), append(data, '\n'), 0o600)
}
