package debroot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// packagesKept is how many packages stay in the store; those of one image are 120 or so, and 400 MB.
const packagesKept = 600

// store keeps packages from one build to the next, verified and without their compression. A file's name is the digest that the signed
// index has for the package, so that one store serves all archives. Because a file is not what that digest is of, its last member has
// one of all that is before it: see [seal].
type store struct {
	dir *cachedir.Dir
	env []string
}

// name is the file of p in the store.
func (p *pkg) name() string { return p.Sum + ".deb" }

func (s store) path(p pkg) string { return s.dir.Path(p.name()) }

// paths returns the files of packages.
func (s store) paths(packages []pkg) []string {
	list := make([]string, len(packages))
	for i, p := range packages {
		list[i] = s.path(p)
	}
	return list
}

// missing returns those of packages that the store does not have, or has damaged.
func (s store) missing(ctx context.Context, packages []pkg) ([]pkg, error) {
	whole := make([]bool, len(packages))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range packages {
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if whole[i], err = s.has(p); err != nil {
				return fmt.Errorf("look into the package store: %w", err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var list []pkg
	for i, p := range packages {
		if whole[i] {
			s.dir.Used(p.name())
		} else {
			list = append(list, p)
		}
	}
	return list, nil
}

// has reports whether the store has p as it was taken in.
func (s store) has(p pkg) (_ bool, err error) {
	f, err := regular.Open(s.path(p))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, regular.ErrNotRegular) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return sealed(f, p.Sum)
}

// add verifies the files of packages in dir and takes them into the store, several at a time, the largest first.
func (s store) add(ctx context.Context, dir string, packages []pkg) error {
	sizes := map[string]int64{}
	for _, p := range packages {
		info, err := os.Lstat(filepath.Join(dir, p.File))
		if err != nil {
			return fmt.Errorf("package %s: apt did not fetch it: %w", p.Name, err)
		}
		sizes[p.Name] = info.Size()
	}
	order := slices.SortedStableFunc(slices.Values(packages), func(a, b pkg) int { return cmp.Compare(sizes[b.Name], sizes[a.Name]) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range order {
		g.Go(func() error {
			if err := s.take(ctx, filepath.Join(dir, p.File), p); err != nil {
				return fmt.Errorf("package %s %s: %w", p.Name, p.Version, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// take verifies one file and publishes what is in it.
func (s store) take(ctx context.Context, file string, p pkg) error {
	sum, err := fileSum(file, p.SumType)
	if err != nil {
		return err
	}
	if sum != p.Sum {
		return fault.WrapHint(fault.Mismatch, fmt.Errorf("want %s %s by the signed index, got %s", p.SumType, p.Sum, sum), "the mirror or what is between gives other files than it has signed: try another one with apt.mirror in the recipe")
	}
	return s.dir.Scratch(func(dir string) (err error) {
		f, err := os.OpenFile(filepath.Join(dir, p.name()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		err = expand(ctx, file, f, s.env)
		if err == nil {
			err = seal(f, p.Sum)
		}
		if err == nil {
			err = f.Sync()
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if info, err := os.Lstat(s.path(p)); err == nil && info.IsDir() { // not made by this program, and rename does not replace it
			if err := os.RemoveAll(s.path(p)); err != nil {
				return err
			}
		}
		return os.Rename(f.Name(), s.path(p))
	})
}

// fileSum returns the digest of a file.
func fileSum(name, sumType string) (string, error) {
	if sumType == "SHA512" {
		return regular.Sum(name, sha512.New())
	}
	return regular.Sum(name, sha256.New())
}
