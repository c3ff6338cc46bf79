package provenance

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// SBOMSuffix is what the name of a bill of materials adds to that of its archive.
const SBOMSuffix = ".cdx.json"

// SBOM gives the bill of materials in CycloneDX JSON: every package, and every
// image that was brought along. Serial number and time follow from the inputs.
func (m Manifest) SBOM() ([]byte, error) {
	bom := cdx.NewBOM()
	serial, err := m.serial()
	if err != nil {
		return nil, err
	}
	bom.SerialNumber = serial
	bom.Metadata = &cdx.Metadata{
		Timestamp: m.Epoch.UTC().Format(time.RFC3339),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "felhom-golden", Version: m.Builder}}},
		Component: &cdx.Component{
			BOMRef: "golden", Type: cdx.ComponentTypeOS, Name: m.Name, Version: m.Epoch.UTC().Format(time.RFC3339),
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: m.Archive.SHA256}},
		},
	}
	components := []cdx.Component{}
	for _, p := range m.Packages {
		purl := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=%s", url.PathEscape(p.Name), url.PathEscape(p.Version), p.Arch, m.Suite)
		c := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: purl}
		if p.Source != "" {
			c.Properties = &[]cdx.Property{{Name: "debian:source", Value: p.Source}}
		}
		components = append(components, c)
	}
	for name, digest := range m.Inputs {
		if image, ok := strings.CutPrefix(name, "image "); ok {
			components = append(components, cdx.Component{BOMRef: name, Type: cdx.ComponentTypeContainer, Name: image, Version: digest})
		}
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	bom.Components = &components
	var b bytes.Buffer
	enc := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := enc.Encode(bom); err != nil {
		return nil, fmt.Errorf("write bill of materials: %w", err)
	}
	return b.Bytes(), nil
}

// serial is a UUID that follows from the manifest (RFC 9562, version 8: custom).
func (m Manifest) serial() (string, error) {
	data, err := m.Encode()
	if err != nil {
		return "", err
	}
	id := sha256.Sum256(data)
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16]), nil
}
