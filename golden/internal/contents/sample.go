package contents

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// preloadPath is the index of the preloaded images.
var preloadPath = contract.PreloadDir[1:] + "/" + contract.PreloadIndex

// directoryBytes is what the sum of one directory costs apart from its name.
const directoryBytes = 288

// isUnitPlace reports whether a unit may be at path.
func isUnitPlace(name string) bool {
	return image.IsUnit(path.Base(name)) && slices.ContainsFunc(image.UnitDirs, func(dir string) bool { return image.IsBelow(dir, name) })
}

// Counts are the sums over members. The zero value is that of no member.
type Counts struct {
	Entries     map[string]int
	Directories map[string]*Directory
	Content     int64
}

// Add counts a member in its directories, two levels deep, and returns the bytes
// that this takes. It leaves out the table of contents. Members of one path are
// to be added once.
func (c *Counts) Add(name string, t vzdump.Type, size int64) (cost int64) {
	if name == Path {
		return 0
	}
	if c.Entries == nil {
		c.Entries, c.Directories = map[string]int{}, map[string]*Directory{}
	}
	c.Entries[t.String()]++
	c.Content += size
	parts := strings.SplitN(name, "/", 4)
	if t != vzdump.Dir {
		parts = parts[:len(parts)-1]
	}
	dir := "/"
	for i := 0; i <= min(2, len(parts)); i++ {
		if i > 0 {
			if parts[i-1] == "." {
				break
			}
			dir = path.Join(dir, parts[i-1])
		}
		d := c.Directories[dir]
		if d == nil {
			cost += int64(len(dir) + directoryBytes)
			d = &Directory{Path: dir}
			c.Directories[dir] = d
		}
		d.Bytes += size
		d.Entries++
	}
	return cost
}

// sorted returns the directories, the largest first.
func (c *Counts) sorted() []Directory {
	list := make([]Directory, 0, len(c.Directories))
	for _, d := range c.Directories {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b Directory) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Path, b.Path))
	})
	return list
}

// Member is what a [Sample] keeps of a member that the contents depend on.
type Member struct {
	Path, Link string
	Type       vzdump.Type
	Size       int64
	Content    []byte // of a file
}

// Sample is what the contents are made of. The zero value is that of no member.
// It can be stored with encoding/gob.
type Sample struct {
	Counts  Counts
	Members []Member
}

// Add takes the next member of an archive. read is called for the content of the
// few files that [Wants] names.
func (s *Sample) Add(e *vzdump.Entry, read func() ([]byte, error)) error {
	s.Counts.Add(e.Path, e.Type, e.Size)
	if !Wants(e.Path, e.Type) {
		return nil
	}
	m := Member{Path: e.Path, Link: e.Link, Type: e.Type, Size: e.Size}
	if e.Type == vzdump.File && e.Size <= image.MaxKept {
		var err error
		if m.Content, err = read(); err != nil {
			return err
		}
	}
	s.Members = append(s.Members, m)
	return nil
}

// Append adds the members of other, which come after those of s.
func (s *Sample) Append(other Sample) {
	for kind, n := range other.Counts.Entries {
		if s.Counts.Entries == nil {
			s.Counts.Entries, s.Counts.Directories = map[string]int{}, map[string]*Directory{}
		}
		s.Counts.Entries[kind] += n
	}
	for dir, d := range other.Counts.Directories {
		if s.Counts.Directories[dir] == nil {
			s.Counts.Directories[dir] = &Directory{Path: dir}
		}
		s.Counts.Directories[dir].Bytes += d.Bytes
		s.Counts.Directories[dir].Entries += d.Entries
	}
	s.Counts.Content += other.Counts.Content
	s.Members = append(s.Members, other.Members...)
}

// Contents returns what the sampled members hold.
func (s *Sample) Contents() Contents {
	var entries []*image.Entry
	content := map[string][]byte{}
	for _, m := range s.Members {
		entries = append(entries, &image.Entry{Path: m.Path, Link: m.Link, Type: m.Type, Size: m.Size})
		if m.Content != nil {
			content[m.Path] = m.Content
		}
	}
	return Of(image.New(entries, content), s.Counts)
}

// Of returns the contents of an image with all members that [Wants] names. Other members
// and files of img change nothing.
func Of(img *image.Image, counts Counts) Contents {
	c := none()
	if counts.Entries != nil {
		c.Entries = counts.Entries
	}
	c.Content, c.Directories = counts.Content, counts.sorted()
	release := img.OSRelease()
	c.OS = OS{ID: release["ID"], VersionID: release["VERSION_ID"], Codename: release["VERSION_CODENAME"], PrettyName: release["PRETTY_NAME"]}
	list, err := img.Packages()
	if err != nil {
		c.Problems = append(c.Problems, err.Error())
	}
	if list != nil {
		c.Packages = list
	}
	if index, ok := img.Content[preloadPath]; ok {
		list, err := contract.ParsePreload(index)
		if err != nil {
			c.Problems = append(c.Problems, "/"+preloadPath+": "+err.Error())
		}
		for _, i := range list.Images {
			c.Images = append(c.Images, Image{i.Reference.String(), i.ConfigDigest.String(), i.ManifestDigest.String(), i.File})
		}
	}
	c.Units = append(c.Units, img.Units().States()...)
	return c
}
