// Package inspect reports what is in an archive: system, packages, units,
// images, configuration and sizes. Call [Archive]; [Table] for what the archive's own
// table of contents says, which is quick; or [Config] for the configuration
// alone. Archive reads the archive once, as a stream, and keeps only what the
// report needs. The package judges nothing, unpacks nothing and opens no file.
package inspect

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/preload"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
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
)

// Options choose what is kept. The zero value is enough for a report.
type Options struct {
	Files bool // fill Report.Files, with the digest of each content
}

// Report is what an archive holds. What it does not have is empty.
type Report struct {
	Archive     string            `json:"archive"`
	Source      Source            `json:"source"` // what the report was made from
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

// Source is what a report was made from.
type Source string

// The sources. A table of contents is what the archive says about itself: only
// verify compares it with the members.
const (
	FromMembers Source = "members"
	FromTable   Source = "table of contents"
)

// OS is what os-release(5) says.
type OS = contents.OS

// Directory is the sum of everything below a directory.
type Directory = contents.Directory

// Archive reads an archive to its end. name is in the report and in errors. An
// archive that cannot be read, is hostile or would need too much memory has
// kind [fault.Invalid].
func Archive(ctx context.Context, r io.Reader, name string, opts Options) (Report, error) {
	var counts contents.Counts
	o := image.Options{
		MaxBytes: maxBytes, MaxHoles: maxHoles,
		Count: func(e *vzdump.Entry) int64 { return counts.Add(e.Path, e.Type, e.Size) },
		Keep:  func(name string, _ int64) bool { return contents.Wants(name, vzdump.File) },
	}
	if opts.Files {
		o.MaxBytes, o.Hash, o.Attributes = maxFilesBytes, sha256.New(), true
	} else {
		o.Index = func(e *vzdump.Entry) bool { return contents.Wants(e.Path, e.Type) }
	}
	report := Report{Archive: path.Base(name), Source: FromMembers}
	img, err := image.Read(ctx, r, o)
	if err == nil {
		err = checkSkipped(img)
	}
	if err != nil {
		return Report{}, fmt.Errorf("inspect %s: %w", report.Archive, err)
	}
	report.fill(contents.Of(img, counts))
	report.Packed = img.Facts.Packed
	if img.ByPath[vzdump.ConfigPath] == nil {
		report.Problems = append(report.Problems, fmt.Sprintf("want ./%s, got none", vzdump.ConfigPath))
	}
	report.configure(img.Config())
	if opts.Files {
		report.Files = slices.DeleteFunc(img.Entries, func(e *image.Entry) bool {
			return e.Path == vzdump.ConfigPath || e.Odd.Has(vzdump.Duplicate) // restore keeps the first of two
		})
	}
	return report, nil
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

// checkSkipped refuses an image with files that had to be read and were not.
func checkSkipped(img *image.Image) error {
	if len(img.Skipped) == 0 {
		return nil
	}
	e := img.Skipped[0]
	if e.Odd.Has(vzdump.Sparse) {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("%w: %s: sparse files of more than %d bytes in all", vzdump.ErrLimit, e.Path, int64(maxHoles)),
			"unpack both archives and compare the directories")
	}
	return fault.Wrap(fault.Invalid, fmt.Errorf("%w: %s: its %d bytes are too many to be read", vzdump.ErrLimit, e.Path, e.Size))
}

// fill makes the report of an archive's contents.
func (r *Report) fill(c contents.Contents) {
	r.OS, r.Packages, r.Units, r.Directories, r.Entries, r.Content = c.OS, c.Packages, c.Units, c.Directories, c.Entries, c.Content
	r.Problems = c.Problems
	r.Images = []preload.Image{}
	for _, i := range c.Images {
		r.Images = append(r.Images, preload.Image{Reference: i.Reference, ConfigDigest: i.ConfigDigest, ManifestDigest: i.ManifestDigest, File: i.File})
	}
}

// configure adds the configuration and what is wrong with it.
func (r *Report) configure(config *pctconf.Config, findings []pctconf.Finding) {
	for _, f := range findings {
		r.Problems = append(r.Problems, "pct.conf: "+f.String())
	}
	r.Config = Settings(config)
}
