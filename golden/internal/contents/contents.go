// Package contents owns the table of contents of an archive: a small JSON file at
// [Path], near the front, from which inspect knows what is in the image without
// reading all of it. pack makes a [Sample] of the members and writes its
// [Contents]; [Parse] reads a table; verify makes the same of the archive itself,
// and compares with [Contents.Differences].
//
// A table is as little to be trusted as the archive that it is in.
package contents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	// Path is where the table is in an archive, and in its guests. It is in /etc so that
	// it comes before all programs and preloaded images.
	Path = "etc/felhom/contents.json"
	// MaxBytes bounds a table. That of a golden image has 30 KB.
	MaxBytes = 1 << 20

	// version is raised when readers of older tables would misunderstand newer ones.
	version = 1

	// maxValues bounds the values in the lists of a table: those of an image are longer
	// than 32 bytes each, and one of two bytes would take a hundred in memory.
	maxValues = MaxBytes / 32
)

// Contents is what an archive holds, without the table itself. What an archive does
// not have is empty.
type Contents struct {
	OS          OS              `json:"os"`
	Entries     map[string]int  `json:"entries"`       // members by kind
	Content     int64           `json:"content_bytes"` // of all files
	Directories []Directory     `json:"directories"`   // two levels, the largest first
	Images      []Image         `json:"images"`        // that were preloaded
	Units       []image.State   `json:"units"`         // sorted by name
	Packages    []image.Package `json:"packages"`      // sorted by name
	Problems    []string        `json:"problems"`      // what could not be read, though restore would take it
}

// OS is what os-release(5) says.
type OS struct {
	ID         string `json:"id"`
	VersionID  string `json:"version_id"`
	Codename   string `json:"codename"`
	PrettyName string `json:"pretty_name"`
}

// Image is a container image that was preloaded.
type Image struct {
	Reference      string `json:"reference"`
	ConfigDigest   string `json:"config_digest"`
	ManifestDigest string `json:"manifest_digest,omitempty"`
	File           string `json:"file"`
}

// Directory is the sum of everything below a directory.
type Directory struct {
	Path    string `json:"path"` // from "/"
	Bytes   int64  `json:"bytes"`
	Entries int    `json:"entries"`
}

// table is the file.
type table struct {
	Version int `json:"version"`
	Contents
}

// ErrTooLarge means that a table would exceed [MaxBytes].
var ErrTooLarge = errors.New("the table of contents is too large")

// Encode returns the table as a file: the same bytes for the same contents.
func (c Contents) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(table{version, c}); err != nil {
		return nil, fmt.Errorf("write table of contents: %w", err)
	}
	if b.Len() > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, b.Len())
	}
	return b.Bytes(), nil
}

// Parse reads a table. It accepts the fields of this version only, and no sums
// that no archive can have.
func Parse(data []byte) (Contents, error) {
	if len(data) > MaxBytes {
		return Contents{}, fmt.Errorf("read table of contents /%s: it exceeds the limit of %d bytes", Path, MaxBytes)
	}
	t := table{Contents: none()}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := checkValues(data)
	if err == nil {
		err = dec.Decode(&t)
	}
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("bytes after the end")
		}
	}
	switch {
	case err == nil && t.Version != version:
		err = fmt.Errorf("want version %d, got %d", version, t.Version)
	case err == nil:
		err = t.checkSums()
	}
	if err != nil {
		return Contents{}, fmt.Errorf("read table of contents /%s: %w", Path, err)
	}
	return t.Contents, nil
}

// checkSums returns an error if no archive can have these sums.
func (c Contents) checkSums() error {
	if c.Content < 0 || c.Content > vzdump.MaxUnpacked {
		return fmt.Errorf("%d bytes of content", c.Content)
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Entries)) {
		if n := c.Entries[kind]; n < 0 || n > vzdump.MaxEntries || !isKind(kind) {
			return fmt.Errorf("%d members of kind %.40q", n, kind)
		}
	}
	for _, d := range c.Directories {
		if d.Bytes < 0 || d.Bytes > c.Content || d.Entries < 0 || d.Entries > vzdump.MaxEntries {
			return fmt.Errorf("%d bytes and %d members in the directory %.100q", d.Bytes, d.Entries, d.Path)
		}
	}
	return nil
}

// checkValues returns an error if the lists of a table have too many values to be
// decoded in little memory. What is wrong with the JSON is left to the decoder.
func checkValues(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // a number that is too large ends neither this nor the decoder
	inList := false // the value at depth 1, which is the table's, is a list
	for depth, values := 0, 0; ; {
		token, err := dec.Token()
		if err != nil {
			return nil //nolint:nilerr // the end, or the decoder's to report
		}
		if token == json.Delim(']') || token == json.Delim('}') {
			depth--
			continue
		}
		if inList && depth == 2 {
			values++
		}
		if values > maxValues {
			return fmt.Errorf("its lists exceed the limit of %d values", maxValues)
		}
		if token == json.Delim('[') || token == json.Delim('{') {
			if depth == 1 {
				inList = token == json.Delim('[')
			}
			depth++
		}
	}
}

func isKind(name string) bool {
	for t := vzdump.File; t <= vzdump.Other; t++ {
		if t.String() == name {
			return true
		}
	}
	return false
}

// none is the contents of nothing: lists that are empty in JSON, not null.
func none() Contents {
	return Contents{
		Entries: map[string]int{}, Directories: []Directory{}, Images: []Image{}, Units: []image.State{}, Packages: []image.Package{}, Problems: []string{},
	}
}

// Least returns how many bytes the tar stream has at least of an archive with
// these contents: a header for each member, and the content.
func (c Contents) Least() int64 {
	const header = 512
	sum := c.Content
	for _, n := range c.Entries {
		sum += int64(n) * header
	}
	return sum
}

// Wants reports whether the contents depend on more of a member than its kind, its
// directory and its size: of a file on its content, of a link on its target.
func Wants(path string, t vzdump.Type) bool {
	switch t {
	case vzdump.File:
		return image.IsOwn(path) || path == preloadPath
	case vzdump.Symlink, vzdump.Link:
		return isUnitPlace(path)
	}
	return false
}
