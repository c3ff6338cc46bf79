package image

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unsafe"

	"github.com/felhom/felhom-golden/golden/internal/deb822"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Files that every image is asked for.
const (
	StatusPath    = "var/lib/dpkg/status"
	osReleasePath = "usr/lib/os-release"
)

// IsOwn reports whether the file at name is kept for the questions that an Image answers.
func IsOwn(name string) bool {
	return name == vzdump.ConfigPath || name == StatusPath || name == osReleasePath || name == "etc/os-release" || isUnitFile(name)
}

// Config returns the guest's pct.conf as the drivers read it, and what is wrong
// with its lines. Without a file it is empty.
func (img *Image) Config() (*pctconf.Config, []pctconf.Finding) { return img.config, img.findings }

// OSRelease returns the values of os-release(5) by key. Without a file it is empty.
func (img *Image) OSRelease() map[string]string {
	text, ok := img.Content[osReleasePath]
	if !ok {
		text = img.Content["etc/os-release"]
	}
	return parseOSRelease(string(text))
}

func parseOSRelease(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && key != "" && !strings.HasPrefix(key, "#") {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values
}

// Package is one installed package.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	Source  string `json:"source,omitempty"` // source package where its name differs
}

// Packages returns the installed packages of the image, sorted. An image
// without dpkg's status file has none.
//
// The list is made once, and is not to be changed.
func (img *Image) Packages() ([]Package, error) { return img.packages() }

func (img *Image) parsePackages() ([]Package, error) {
	status, ok := img.Content[StatusPath]
	if !ok {
		return nil, nil
	}
	return parsePackages(asText(status))
}

// asText returns data as a string without a copy. Content is not changed once it is
// read, and a copy of dpkg's status for each question would be most of the memory.
func asText(data []byte) string { return unsafe.String(unsafe.SliceData(data), len(data)) } //nolint:gosec // see above

// maxStatus is the largest status file that ReadPackages takes, in bytes.
const maxStatus = 64 << 20

// ReadPackages reads the installed packages from a dpkg status file, sorted. A
// file without any has kind [fault.Invalid].
func ReadPackages(status io.Reader) ([]Package, error) {
	data, err := io.ReadAll(io.LimitReader(status, maxStatus+1))
	if err == nil && len(data) > maxStatus {
		err = fault.Errorf(fault.Invalid, "it exceeds the limit of %d bytes", maxStatus)
	}
	if err != nil {
		return nil, fmt.Errorf("read dpkg status: %w", err)
	}
	return parsePackages(string(data))
}

func parsePackages(status string) ([]Package, error) {
	// A list that grows takes more than twice the memory of one that is as long as
	// needed; no paragraph of a package is shorter than 32 bytes.
	list := make([]Package, 0, min(strings.Count(status, " installed\n"), len(status)/32))
	for p := range deb822.Paragraphs(status, "package", "status", "version", "architecture", "source") {
		if p["package"] != "" && strings.HasSuffix(p["status"], " installed") {
			list = append(list, Package{Name: p["package"], Version: p["version"], Arch: p["architecture"], Source: p["source"]})
		}
	}
	if len(list) == 0 {
		return nil, fault.Wrap(fault.Invalid, errors.New("read dpkg status: no installed package in it"))
	}
	slices.SortFunc(list, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch))
	})
	return slices.Clip(list), nil
}
