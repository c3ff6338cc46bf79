// Package provenance owns the record of what went into an image: the manifest
// with every input by its digest, the software bill of materials, the notes
// that Proxmox VE shows, and the comparison of two manifests. It records and
// compares; it decides nothing. Nothing in its output depends on the machine or
// the time of the build, so equal inputs give equal bytes.
package provenance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// SchemaVersion is the version of the manifest's form.
const SchemaVersion = 1

// maxManifest is the largest manifest that is read; one has some 50 KiB.
const maxManifest = 16 << 20

// Suffix is what a manifest's name adds to that of its archive.
const Suffix = ".provenance.json"

// Manifest says what an image was made of.
type Manifest struct {
	SchemaVersion int                `json:"schema_version"`
	Name          string             `json:"name"`
	Builder       string             `json:"builder"` // version of felhom-golden
	Epoch         time.Time          `json:"epoch"`
	Suite         string             `json:"suite"`
	Arch          string             `json:"arch"`
	RecipeSHA256  string             `json:"recipe_sha256"` // of the recipe with all defaults, in JSON
	BaseKey       string             `json:"base_key"`
	Settings      map[string]string  `json:"settings"` // of packing and sealing
	Releases      map[string]Release `json:"releases"` // by suite and URI
	Tools         map[string]string  `json:"tools"`    // name to version
	Packages      []image.Package    `json:"packages"` // sorted by name
	Inputs        map[string]string  `json:"inputs"`   // file or image to its digest
	Archive       Archive            `json:"archive"`
}

// Release is the state of a suite.
type Release struct {
	SHA256 string    `json:"sha256"`
	Date   time.Time `json:"date"`
}

// Archive is the result.
type Archive struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
}

// Encode gives the manifest's bytes.
func (m Manifest) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

// Read reads the manifest that belongs to an archive; path may be either's.
func Read(path string) (Manifest, error) {
	if !strings.HasSuffix(path, Suffix) {
		path += Suffix
	}
	data, err := regular.Read(path, maxManifest)
	switch {
	case errors.Is(err, regular.ErrTooLarge):
		return Manifest{}, fault.Wrap(fault.Invalid, fmt.Errorf("read provenance: %w", err))
	case err != nil:
		return Manifest{}, fault.WrapHint(fault.Invalid, fmt.Errorf("read provenance: %w", err), "felhom-golden build writes it beside the archive")
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return Manifest{}, fault.Wrap(fault.Invalid, fmt.Errorf("read provenance: %s: %w", path, err))
	}
	if m.SchemaVersion != SchemaVersion {
		return Manifest{}, fault.Errorf(fault.Invalid, "read provenance: %s: want schema_version %d, got %d", path, SchemaVersion, m.SchemaVersion)
	}
	return m, nil
}

// Digest is the SHA-256 of v's JSON form.
func Digest(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Difference is one input that two images do not share. A side that lacks the
// input is "".
type Difference struct {
	Input string `json:"input"`
	A     string `json:"a"`
	B     string `json:"b"`
}

// Compare lists the inputs in which a and b differ, by name.
func Compare(a, b Manifest) []Difference {
	fa, fb := a.flat(), b.flat()
	var list []Difference
	names := slices.Collect(maps.Keys(fa))
	for name := range fb {
		if _, ok := fa[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if fa[name] != fb[name] {
			list = append(list, Difference{name, fa[name], fb[name]})
		}
	}
	return list
}

// flat gives every input under a name of its own. The archive is not an input.
func (m Manifest) flat() map[string]string {
	f := map[string]string{
		"name": m.Name, "builder": m.Builder, "epoch": m.Epoch.UTC().Format(time.RFC3339),
		"suite": m.Suite, "arch": m.Arch, "recipe": m.RecipeSHA256,
	}
	for k, v := range m.Settings {
		f["setting "+k] = v
	}
	for k, v := range m.Releases {
		f["release "+k] = v.SHA256
	}
	for k, v := range m.Tools {
		f["tool "+k] = v
	}
	for _, p := range m.Packages {
		f["package "+p.Name+":"+p.Arch] = p.Version
	}
	for k, v := range m.Inputs {
		f["input "+k] = v
	}
	return f
}

// Notes is the text that Proxmox VE shows for the archive; only its first line
// is in lists.
func (m Manifest) Notes() string {
	docker := ""
	for _, p := range m.Packages {
		if p.Name == "docker.io" || p.Name == "docker-ce" || p.Name == "runc" {
			docker += fmt.Sprintf("%s %s\n", p.Name, p.Version)
		}
	}
	return fmt.Sprintf("%s: Debian %s %s, %s\n%d packages\n%sbuilt by felhom-golden %s\nrecipe sha256:%s\n",
		m.Name, m.Suite, m.Arch, m.Epoch.UTC().Format("2006-01-02 15:04 UTC"), len(m.Packages), docker, m.Builder, m.RecipeSHA256)
}
