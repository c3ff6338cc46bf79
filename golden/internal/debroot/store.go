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
// index has for the package, so that one store serves all archives.
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

// missing returns those of packages that the store does not have.
func (s store) missing(packages []pkg) ([]pkg, error) {
	var list []pkg
	for _, p := range packages {
		switch _, err := os.Lstat(s.path(p)); {
		case errors.Is(err, fs.ErrNotExist):
			list = append(list, p)
		case err != nil:
			return nil, fmt.Errorf("look into the package store: %w", err)
		default:
			s.dir.Used(p.name())
		}
	}
	return list, nil
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
			err = f.Sync()
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
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
