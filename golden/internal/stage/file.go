package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
)

var timeZero time.Time

// Sum returns a digest of all that f brings: its content, mode, owner and path.
func Sum(f overlay.File) (string, error) {
	if !f.Mode.IsRegular() {
		return keyOf(f.Path, f.Mode, f.UID, f.GID, f.Link)
	}
	r, err := f.Open()
	if err != nil {
		return "", fault.Wrap(fault.Invalid, fmt.Errorf("read file for /%s: %w", f.Path, err))
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", errors.Join(fmt.Errorf("read file for /%s: %w", f.Path, err), r.Close())
	}
	if err := r.Close(); err != nil {
		return "", err
	}
	return keyOf(f.Path, f.Mode, f.UID, f.GID, hex.EncodeToString(h.Sum(nil)))
}

// Files lists the recipe's own files, directories walked in the order of names.
// Modes do not depend on this machine's umask: of a source only its x bit
// counts. The error names every source that cannot be read.
func Files(r *recipe.Recipe) ([]overlay.File, error) {
	var list []overlay.File
	var errs error
	for _, f := range r.Files {
		base := overlay.File{Path: strings.TrimPrefix(f.Path, "/"), Mode: 0o644, UID: f.UID, GID: f.GID, Data: []byte(f.Content)}
		if f.Mode != "" {
			bits, err := strconv.ParseUint(f.Mode, 8, 12)
			if err != nil {
				return nil, fault.Wrap(fault.Invalid, fmt.Errorf("mode of %s: %w", f.Path, err))
			}
			base.Mode = unixMode(bits)
		}
		switch {
		case f.Link != "":
			base.Mode, base.Link = fs.ModeSymlink|0o777, f.Link
		case f.Directory:
			if f.Mode == "" {
				base.Mode = 0o755
			}
			base.Mode |= fs.ModeDir
		case f.Source != "":
			sub, err := sourceFiles(r, f, base)
			errs = errors.Join(errs, err)
			list = append(list, sub...)
			continue
		}
		list = append(list, base)
	}
	if errs != nil {
		return nil, errs
	}
	return list, nil
}

func sourceFiles(r *recipe.Recipe, f recipe.File, base overlay.File) ([]overlay.File, error) {
	top := r.Local(f.Source)
	var list []overlay.File
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		file := base
		file.Data = nil
		file.Path = path.Join(base.Path, filepath.ToSlash(rel))
		info, err := os.Stat(name)
		if name != top {
			info, err = d.Info()
		}
		if err != nil {
			return err
		}
		switch {
		case info.IsDir():
			if rel == "." && name == top {
				return nil // the place itself: made when it is not there
			}
			file.Mode = fs.ModeDir | 0o755
		case info.Mode()&fs.ModeSymlink != 0:
			file.Mode = fs.ModeSymlink | 0o777
			file.Link, err = os.Readlink(name)
		case info.Mode().IsRegular():
			file.Source = name
			if f.Mode == "" && info.Mode()&0o100 != 0 {
				file.Mode = 0o755
			}
		default:
			return fmt.Errorf("%s is neither file, directory nor link", name)
		}
		list = append(list, file)
		return err
	})
	if err != nil {
		return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("read files for %s: %w", f.Path, err), "look at files[].source in the recipe: relative paths start at the recipe's directory")
	}
	return list, nil
}

// unixMode turns the twelve bits of chmod(1) into Go's.
func unixMode(bits uint64) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	for bit, goBit := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			m |= goBit
		}
	}
	return m
}
