package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
)

// debs are the packages: contrib/debian/NAME.yaml says what is in each.
var debs = []string{"felhom-agentd", "felhom-golden"}

// packages writes the packages of one architecture into out. What must be made for them is put into parts.
func packages(ctx context.Context, out, parts, arch string, o options) error {
	for _, name := range debs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := pack(out, filepath.Join(parts, name+"-"+arch), name, arch, o); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func pack(out, parts, name, arch string, o options) error {
	// Names that contrib/debian/*.yaml may use. Another one is a mistake, not an empty text.
	var unknown []error
	config, err := nfpm.ParseFileWithEnvMapping(filepath.Join("contrib/debian", name+".yaml"), func(key string) string {
		switch key {
		case "ARCH":
			return arch
		case "VERSION":
			return o.version.debian
		case "PROGRAMS":
			return o.programs
		case "PARTS":
			return parts
		case "MAINTAINER":
			return o.maintainer
		}
		if !strings.HasPrefix(key, "NFPM_") { // those the library asks for itself
			unknown = append(unknown, fmt.Errorf("contrib/debian/%s.yaml: unknown name ${%s}", name, key))
		}
		return ""
	})
	if err := errors.Join(append(unknown, err)...); err != nil {
		return err
	}
	info, err := config.Get("deb")
	if err != nil {
		return err
	}
	info.MTime = o.time
	if err := makeParts(parts, info, o); err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	return create(filepath.Join(out, deb.Default.ConventionalFileName(info)), func(w io.Writer) error { return deb.Default.Package(info, w) })
}

// makeParts writes what policy wants in a form of its own: compressed manual pages and the changelog. Any part of a package whose
// source is PARTS/man/NAME.gz is docs/man/NAME.
func makeParts(parts string, info *nfpm.Info, o options) error {
	changelog, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return err
	}
	entry, err := debianChangelog(info.Name, string(changelog), info.Maintainer, o)
	if err != nil {
		return err
	}
	made := map[string][]byte{filepath.Join(parts, "changelog.gz"): entry}
	for _, c := range info.Contents {
		page, ok := strings.CutPrefix(c.Source, filepath.Join(parts, "man")+"/")
		if !ok {
			continue
		}
		if made[c.Source], err = os.ReadFile(filepath.Join("docs/man", strings.TrimSuffix(page, ".gz"))); err != nil {
			return err
		}
	}
	for name, data := range made {
		if data, err = zipped(data); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func create(name string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}
