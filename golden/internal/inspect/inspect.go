// Package inspect tells what is in an archive: system, packages, units,
// images, configuration and sizes. It reads the archive once, as a stream,
// and keeps only what the report needs. It judges nothing (that is verify's),
// unpacks nothing and opens no file.
package inspect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/preload"
	"github.com/felhom/felhom-golden/golden/internal/provenance"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	// maxKeptBytes bounds what is kept of one archive, index and contents
	// together; a golden of 8,000 members needs a tenth of it.
	maxKeptBytes = 32 << 20
	// maxFilesBytes is the same with [Options.Files]: two archives are compared.
	maxFilesBytes = 18 << 20
	// maxKeptFile is the largest file that is looked into; dpkg's status is
	// larger than any other.
	maxKeptFile = 8 << 20
	// entryBytes is what one kept member costs besides its texts.
	entryBytes = 288
	// attributeBytes is what one attribute costs besides its texts.
	attributeBytes = 96
	// mapBytes is what the attributes of one member cost as a whole.
	mapBytes = 320
	// maxHoles bounds the sparse files whose digests are taken: each byte of
	// a hole is one to digest.
	maxHoles = 4 << 30
)

// Options choose what is kept. The zero value is enough for a report.
type Options struct {
	Files bool // fill Report.Files, with the digest of each content
}

// Report is what an archive holds. What it does not have is empty.
type Report struct {
	Archive  string               `json:"archive"`
	OS       OS                   `json:"os"`
	Config   map[string]string    `json:"config"` // see [Settings]
	Packages []provenance.Package `json:"packages"`
	Units    []Unit               `json:"units"`    // sorted by name
	Images   []preload.Image      `json:"images"`   // that were brought along
	Folders  []Folder             `json:"folders"`  // two levels, the largest first
	Entries  map[string]int       `json:"entries"`  // members by kind
	Problems []string             `json:"problems"` // what could not be read, though restore would take it
	Packed   int64                `json:"packed_bytes"`
	Content  int64                `json:"content_bytes"`

	Files []File `json:"-"` // in the order of the archive, without the configuration
}

// OS is what os-release(5) says.
type OS struct {
	ID         string `json:"id"`
	VersionID  string `json:"version_id"`
	Codename   string `json:"codename"`
	PrettyName string `json:"pretty_name"`
}

// Folder is the sum of all below a folder.
type Folder struct {
	Path    string `json:"path"` // from "/"
	Bytes   int64  `json:"bytes"`
	Entries int    `json:"entries"`
}

// File is one member of any kind.
type File struct {
	Path   string
	Type   vzdump.Type
	Mode   uint32
	UID    int
	GID    int
	Size   int64
	SHA256 string // hex; "" unless a file
	Link   string
	Device string // major:minor; "" unless a device
	// Xattrs has the attributes by name, in hexadecimal digits; of a long one
	// its digest and length. Access control lists are among them, as text.
	Xattrs map[string]string
}

// scan is one pass over an archive.
type scan struct {
	opts    Options
	report  Report
	kept    int64
	holes   int64             // bytes of sparse files so far
	content map[string]string // small files by path
	links   map[string]string // symlinks that may concern units or os-release
	folders map[string]*Folder
}

// Archive reads an archive to its end. name stands in the report and in
// errors. An archive that cannot be read, is hostile or would need too much
// memory has kind [fault.Invalid].
func Archive(ctx context.Context, r io.Reader, name string, opts Options) (Report, error) {
	s := &scan{
		opts: opts, content: map[string]string{}, links: map[string]string{}, folders: map[string]*Folder{},
		report: Report{Archive: path.Base(name), Entries: map[string]int{}},
	}
	err := s.read(ctx, r)
	if err == nil {
		err = s.finish()
	}
	if err != nil {
		return Report{}, fmt.Errorf("inspect %s: %w", s.report.Archive, err)
	}
	return s.report, nil
}

// Config returns the guest's configuration as it stands in the archive, and
// reads no further. So it does not notice what is wrong behind it.
func Config(ctx context.Context, r io.Reader, name string) ([]byte, error) {
	conf, err := vzdump.ReadConfig(vzdump.WithContext(ctx, r))
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", path.Base(name), err)
	}
	return conf, nil
}

// keep reads a file that must not be large.
func keep(e *vzdump.Entry, r io.Reader) ([]byte, error) {
	if e.Size > maxKeptFile {
		return nil, fault.Errorf(fault.Invalid, "%s: want at most %d bytes, found %d", e.RawName, maxKeptFile, e.Size)
	}
	return io.ReadAll(r)
}

func (s *scan) read(ctx context.Context, r io.Reader) error {
	in, err := vzdump.NewReader(vzdump.WithContext(ctx, r), vzdump.Limits{})
	if err != nil {
		return err
	}
	defer in.Close()
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			facts := in.Facts()
			s.report.Packed, s.report.Content = facts.Packed, facts.Content
			return nil
		}
		if err != nil {
			return err
		}
		// Restore keeps the first of two members with one path.
		if e.Odd.Has(vzdump.Duplicate) {
			continue
		}
		if err := s.member(e, in); err != nil {
			return err
		}
	}
}

func (s *scan) member(e *vzdump.Entry, r io.Reader) error {
	s.report.Entries[e.Type.String()]++
	if err := s.sum(e); err != nil {
		return err
	}
	if e.Type == vzdump.Symlink && wanted(e.Path) {
		if err := s.charge(int64(len(e.Path) + len(e.Link) + entryBytes)); err != nil {
			return err
		}
		s.links[e.Path] = e.Link
	}
	digest := sha256.New()
	if e.Type == vzdump.File && wanted(e.Path) {
		if err := s.charge(e.Size + int64(len(e.Path)+entryBytes)); err != nil {
			return err
		}
		data, err := keep(e, r)
		if err != nil {
			return err
		}
		s.content[e.Path] = string(data)
		digest.Write(data)
	}
	if !s.opts.Files || e.Path == vzdump.ConfigPath {
		return nil
	}
	size := int64(len(e.Path) + len(e.Link) + entryBytes)
	xattrs := attributes(e)
	if xattrs != nil {
		size += mapBytes
	}
	for k, v := range xattrs {
		size += int64(len(k)+len(v)) + attributeBytes
	}
	if err := s.charge(size); err != nil {
		return err
	}
	f := File{Path: e.Path, Type: e.Type, Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, Link: e.Link, Xattrs: xattrs}
	switch e.Type {
	case vzdump.File:
		if e.Odd.Has(vzdump.Sparse) {
			if s.holes += e.Size; s.holes > maxHoles {
				return fault.WrapHint(fault.Invalid, fmt.Errorf("%w: %s: sparse files of %d bytes so far exceed the limit of %d", vzdump.ErrLimit, e.RawName, s.holes, int64(maxHoles)),
					"unpack both archives and compare the directories")
			}
		}
		if _, err := io.Copy(digest, r); err != nil {
			return err
		}
		f.SHA256 = hex.EncodeToString(digest.Sum(nil))
	case vzdump.Char, vzdump.Block:
		f.Device = fmt.Sprintf("%d:%d", e.DevMajor, e.DevMinor)
	}
	s.report.Files = append(s.report.Files, f)
	return nil
}

// attributes returns what [File.Xattrs] has of a member.
func attributes(e *vzdump.Entry) map[string]string {
	const longest = 64
	var m map[string]string
	set := func(name, value string) {
		if m == nil {
			m = map[string]string{}
		}
		m[name] = value
	}
	for name, value := range e.Xattrs {
		if len(value) > longest {
			set(name, fmt.Sprintf("sha256:%x of %d bytes", sha256.Sum256([]byte(value)), len(value)))
			continue
		}
		set(name, hex.EncodeToString([]byte(value)))
	}
	if e.ACL != nil {
		set("acl.access", e.ACL.String())
	}
	if e.DefaultACL != nil {
		set("acl.default", e.DefaultACL.String())
	}
	return m
}

// sum counts a member in its folders, two levels deep.
func (s *scan) sum(e *vzdump.Entry) error {
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
		f := s.folders[name]
		if f == nil {
			if err := s.charge(int64(len(name) + entryBytes)); err != nil {
				return err
			}
			f = &Folder{Path: name}
			s.folders[name] = f
		}
		f.Bytes += e.Size
		f.Entries++
	}
	return nil
}

func (s *scan) charge(n int64) error {
	most := int64(maxKeptBytes)
	if s.opts.Files {
		most = maxFilesBytes
	}
	if s.kept += n; s.kept > most {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("%w: names and settings take more than %d MiB", vzdump.ErrLimit, most>>20), "this archive cannot be read in bounded memory")
	}
	return nil
}
