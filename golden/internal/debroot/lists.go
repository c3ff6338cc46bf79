package debroot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

// listsKept is how many states of archives are kept; one takes 100 MB or so. maxSums bounds the list of a state's digests.
const (
	listsKept = 2
	maxSums   = 1 << 20
)

// The names in the directory of a state.
const (
	indexDir      = "index"           // apt's Dir::State::lists
	sourceCache   = "srcpkgcache.bin" // what apt has read there, for the next apt
	essentialFile = "essential.json"  // the selection of essential packages, which depends on nothing else
	sumsFile      = "sums.json"       // the digests of all others; comes last
)

// lists are the signed indexes of one state of the archives, kept from one build to the next: reading and sorting them takes as
// long as choosing from them. apt verifies them once, and the digests that are taken then hold for later builds.
type lists struct {
	dir   string
	whole bool // everything is there, and as it was
	lock  *os.File
}

// openLists opens the directory of the request's state of the archives. If it is whole it is shared with other builds, otherwise it is
// empty and this build's alone, for the others that need it wait. Close ends that.
func openLists(ctx context.Context, req *Request) (_ *lists, err error) {
	l := &lists{dir: filepath.Join(req.Cache, "lists", req.State)}
	if l.lock, err = lockFile(req.Cache, req.State); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for _, kind := range []filelock.Kind{filelock.Shared, filelock.Exclusive} {
		if err := filelock.TakeWhenFree(ctx, l.lock, kind, nil); err != nil {
			return nil, fmt.Errorf("wait for another build to read the archives: %w", cmp.Or(context.Cause(ctx), err))
		}
		if l.whole, err = l.check(ctx); err != nil {
			return nil, err
		}
		if l.whole = l.whole && !req.expired(); l.whole {
			now := time.Now() // when it was last used, for removal only
			return l, os.Chtimes(l.dir, now, now)
		}
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return l, os.MkdirAll(filepath.Join(l.dir, indexDir, "partial"), 0o700)
}

// lockFile opens the file that is locked for a state of the archives. It is not in the state's directory, which is removed.
func lockFile(cache, state string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Join(cache, "locks"), 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(cache, "locks", "lists-"+state), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return f, nil
}

// Close lets others use the directory.
func (l *lists) Close() error { return filelock.Close(l.lock) }

func (l *lists) path(name string) string { return filepath.Join(l.dir, name) }

// check reports whether each file is the one that was there when the state was finished, and no other is.
func (l *lists) check(ctx context.Context) (bool, error) {
	data, err := regular.Read(l.path(sumsFile), maxSums)
	var want map[string]string
	if err != nil || json.Unmarshal(data, &want) != nil || len(want) == 0 {
		return false, nil //nolint:nilerr // made again
	}
	got, err := l.sums(ctx)
	if err != nil {
		return false, err
	}
	return maps.Equal(want, got), nil
}

// sums returns the digest of each file, by its name in the directory. That of a file which cannot be read is empty.
func (l *lists) sums(ctx context.Context) (map[string]string, error) {
	var names []string
	err := filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(l.dir, path)
		if name != sumsFile {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look into the cache: %w", err)
	}
	sums := make([]string, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		g.Go(func() error {
			sum, err := regular.Sum(l.path(name), sha256.New())
			if err == nil {
				sums[i] = sum
			}
			return context.Cause(ctx)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	result := map[string]string{}
	for i, name := range names {
		result[name] = sums[i]
	}
	return result, nil
}

// essential returns the kept selection of essential packages; ok is false if there is none.
func (l *lists) essential() (s selection, ok bool) {
	if !l.whole {
		return s, false
	}
	data, err := regular.Read(l.path(essentialFile), maxChoice)
	return s, err == nil && json.Unmarshal(data, &s) == nil && s.plain()
}

// finish keeps the directory for later builds. A directory that was not finished is emptied by the next build.
func (l *lists) finish(ctx context.Context, essential selection) error {
	data, err := json.Marshal(essential)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.path(essentialFile), data, 0o600); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	sums, err := l.sums(ctx)
	if err != nil {
		return err
	}
	if data, err = json.Marshal(sums); err != nil {
		return err
	}
	if err := os.WriteFile(l.path(sumsFile), data, 0o600); err != nil { // one that is cut is not valid
		return fmt.Errorf("write cache: %w", err)
	}
	return nil
}

// trimLists removes the states that were used longest ago and are not in use now.
func trimLists(cache string) (err error) {
	dir, err := cachedir.Open(filepath.Join(cache, "lists"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	return dir.Trim(listsKept, func(state string) (err error) {
		lock, err := lockFile(cache, state)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, filelock.Close(lock)) }()
		if filelock.Try(lock, filelock.Exclusive) != nil {
			return nil // in use
		}
		return os.RemoveAll(dir.Path(state))
	})
}
