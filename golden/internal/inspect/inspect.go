// Package inspect reports what is in an archive: system, packages, units,
// images, configuration and sizes. Call [Archive], or [Config] for the
// configuration alone. It reads the archive once, as a stream, and keeps only
// what the report needs. It judges nothing, unpacks nothing and opens no file.
package inspect

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/preload"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	// maxBytes bounds what is kept of one archive; a golden image of 8,000
	// members needs a tenth of it.
	maxBytes = 32 << 20
	// maxFilesBytes is the same with [Options.Files]: two archives are compared.
	maxFilesBytes = 18 << 20
	// maxHoles bounds the sparse files whose digests are taken.
	maxHoles = 4 << 30
	// directoryBytes is what the sum of one directory costs apart from its name.
	directoryBytes = 288

	preloadPath = contract.PreloadDir + "/" + contract.PreloadIndex
)

// Options choose what is kept. The zero value is enough for a report.
type Options struct {
	Files bool // fill Report.Files, with the digest of each content
}

// Report is what an archive holds. What it does not have is empty.
type Report struct {
	Archive     string            `json:"archive"`
	OS          OS                `json:"os"`
	Config      map[string]string `json:"config"` // see [Settings]
	Packages    []image.Package   `json:"packages"`
	Units       []image.State     `json:"units"`    // sorted by name
	Images      []preload.Image   `json:"images"`   // that were preloaded
	Directories []Directory       `json:"folders"`  // two levels, the largest first
	Entries     map[string]int    `json:"entries"`  // members by kind
	Problems    []string          `json:"problems"` // what could not be read, though restore would take it
	Packed      int64             `json:"packed_bytes"`
	Content     int64             `json:"content_bytes"`

	Files []*image.Entry `json:"-"` // in the order of the archive, without the configuration
}

// OS is what os-release(5) says.
type OS struct {
	ID         string `json:"id"`
	VersionID  string `json:"version_id"`
	Codename   string `json:"codename"`
	PrettyName string `json:"pretty_name"`
}

// Directory is the sum of everything below a directory.
type Directory struct {
	Path    string `json:"path"` // from "/"
	Bytes   int64  `json:"bytes"`
	Entries int    `json:"entries"`
}

// Archive reads an archive to its end. name is in the report and in errors. An
// archive that cannot be read, is hostile or would need too much memory has
// kind [fault.Invalid].
func Archive(ctx context.Context, r io.Reader, name string, opts Options) (Report, error) {
	s := sums{entries: map[string]int{}, directories: map[string]*Directory{}}
	o := image.Options{
		MaxBytes: maxBytes, MaxHoles: maxHoles, Count: s.add,
		Keep: func(name string, _ int64) bool { return name == preloadPath[1:] },
	}
	if opts.Files {
		o.MaxBytes, o.Hash, o.Attributes = maxFilesBytes, sha256.New(), true
	} else {
		o.Index = isLink
	}
	report := Report{Archive: path.Base(name)}
	img, err := image.Read(ctx, r, o)
	if err == nil {
		err = report.fill(img, &s)
	}
	if err != nil {
		return Report{}, fmt.Errorf("inspect %s: %w", report.Archive, err)
	}
	if opts.Files {
		report.Files = slices.DeleteFunc(img.Entries, func(e *image.Entry) bool {
			return e.Path == vzdump.ConfigPath || e.Odd.Has(vzdump.Duplicate) // restore keeps the first of two
		})
	}
	return report, nil
}

// isLink reports whether a member is a link that says something about units or
// os-release.
func isLink(m *vzdump.Entry) bool {
	return m.Type == vzdump.Symlink && image.IsUnit(path.Base(m.Path)) &&
		slices.ContainsFunc(image.UnitDirs, func(dir string) bool { return image.IsBelow(dir, m.Path) })
}

// Config returns the guest's configuration as it is in the archive, and reads
// no further. So it does not notice what is wrong after it.
func Config(ctx context.Context, r io.Reader, name string) ([]byte, error) {
	conf, err := vzdump.ReadConfig(vzdump.WithContext(ctx, r))
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", path.Base(name), err)
	}
	return conf, nil
}

// fill makes the report of what was kept.
func (r *Report) fill(img *image.Image, s *sums) error {
	if len(img.Skipped) > 0 {
		e := img.Skipped[0]
		if e.Odd.Has(vzdump.Sparse) {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("%w: %s: sparse files of more than %d bytes in all", vzdump.ErrLimit, e.Path, int64(maxHoles)),
				"unpack both archives and compare the directories")
		}
		return fault.Wrap(fault.Invalid, fmt.Errorf("%w: %s: its %d bytes are too many to be read", vzdump.ErrLimit, e.Path, e.Size))
	}
	r.Packed, r.Content, r.Entries, r.Directories = img.Facts.Packed, img.Facts.Content, s.entries, s.sorted()
	r.Packages, r.Images, r.Problems = []image.Package{}, []preload.Image{}, []string{}
	if img.ByPath[vzdump.ConfigPath] == nil {
		r.Problems = append(r.Problems, fmt.Sprintf("want ./%s, got none", vzdump.ConfigPath))
	}
	config, findings := img.Config()
	for _, f := range findings {
		r.Problems = append(r.Problems, "pct.conf: "+f.String())
	}
	r.Config = Settings(config)
	release := img.OSRelease()
	r.OS = OS{ID: release["ID"], VersionID: release["VERSION_ID"], Codename: release["VERSION_CODENAME"], PrettyName: release["PRETTY_NAME"]}
	if list, err := img.Packages(); err != nil {
		r.Problems = append(r.Problems, err.Error())
	} else {
		r.Packages = append(r.Packages, list...)
	}
	if index, ok := img.Content[preloadPath[1:]]; ok {
		var file struct {
			Images []preload.Image `json:"images"`
		}
		if _, err := contract.ParsePreload(index); err != nil {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: %v", preloadPath, err))
		} else if err := json.Unmarshal(index, &file); err != nil {
			return err
		}
		r.Images = append(r.Images, file.Images...)
	}
	r.Units = img.Units().States()
	return nil
}

// sums counts members while they pass.
type sums struct {
	entries     map[string]int
	directories map[string]*Directory
}

// add counts a member in its directories, two levels deep, and returns the
// bytes that this takes.
func (s *sums) add(e *vzdump.Entry) (cost int64) {
	s.entries[e.Type.String()]++
	parts := strings.SplitN(e.Path, "/", 4)
	if e.Type != vzdump.Dir {
		parts = parts[:len(parts)-1]
	}
	name := "/"
	for i := 0; i <= min(2, len(parts)); i++ {
		if i > 0 {
			if parts[i-1] == "." {
				break
			}
			name = path.Join(name, parts[i-1])
		}
		d := s.directories[name]
		if d == nil {
			cost += int64(len(name) + directoryBytes)
			d = &Directory{Path: name}
			s.directories[name] = d
		}
		d.Bytes += e.Size
		d.Entries++
	}
	return cost
}

// sorted returns the directories, the largest first.
func (s *sums) sorted() []Directory {
	list := make([]Directory, 0, len(s.directories))
	for _, d := range s.directories {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b Directory) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Path, b.Path))
	})
	return list
}
