package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// checkPrograms refuses programs that are not what their names say: another architecture, or linked against libraries.
func checkPrograms(o options) error {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, p := range programs {
		for _, arch := range architectures {
			name := filepath.Join(o.programs, p+"-linux-"+arch)
			f, err := elf.Open(name)
			if err != nil {
				return fmt.Errorf("open program: %w\nrelease: hint: make build writes it", err)
			}
			libraries, err := f.ImportedLibraries()
			machine := f.Machine
			if err := f.Close(); err != nil {
				return err
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if machine != machines[arch] || len(libraries) > 0 {
				return fmt.Errorf("%s: want a static program for %s, got %s with libraries %v", name, arch, machine, libraries)
			}
		}
	}
	return nil
}

// billOfMaterials gives the modules of each program in CycloneDX JSON, as the programs themselves record them.
func billOfMaterials(o options) ([]byte, error) {
	bom := cdx.NewBOM()
	stamp := o.time.Format(time.RFC3339)
	bom.Metadata = &cdx.Metadata{
		Timestamp: stamp,
		Component: &cdx.Component{BOMRef: "felhom", Type: cdx.ComponentTypeApplication, Name: "felhom", Version: o.version.text},
	}
	parts, dependencies := map[string]cdx.Component{}, map[string]*cdx.Dependency{}
	identity := sha256.New()
	for _, p := range programs {
		for _, arch := range architectures {
			ref := p + "-linux-" + arch
			info, digest, err := readProgram(filepath.Join(o.programs, ref))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(identity, "%s %s %s\n", ref, o.version.text, digest)
			parts[ref] = cdx.Component{
				BOMRef: ref, Type: cdx.ComponentTypeApplication, Name: ref, Version: o.version.text,
				Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: digest}},
			}
			needs := []string{}
			add := func(c cdx.Component) { parts[c.BOMRef] = c; needs = append(needs, c.BOMRef) }
			add(module("std", strings.TrimPrefix(info.GoVersion, "go"), ""))
			for _, m := range info.Deps {
				if m.Replace != nil {
					m = m.Replace
				}
				add(module(m.Path, m.Version, m.Sum))
			}
			slices.Sort(needs)
			dependencies[ref] = &cdx.Dependency{Ref: ref, Dependencies: &needs}
		}
	}
	id := identity.Sum(nil)
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // RFC 9562, version 8: it follows from the programs
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
	components, edges := []cdx.Component{}, []cdx.Dependency{}
	for _, c := range parts {
		components = append(components, c)
	}
	for _, d := range dependencies {
		edges = append(edges, *d)
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	slices.SortFunc(edges, func(a, b cdx.Dependency) int { return strings.Compare(a.Ref, b.Ref) })
	bom.Components, bom.Dependencies = &components, &edges
	var b bytes.Buffer
	err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).Encode(bom)
	return b.Bytes(), err
}

func readProgram(name string) (*buildinfo.BuildInfo, string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, "", err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	return info, fmt.Sprintf("%x", sha256.Sum256(data)), nil
}

func module(path, version, sum string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + version
	c := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}
