package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The programs and the architectures that they are built for; the Makefile has the same lists.
var (
	programs      = []string{"felhom-agentd", "felhom-controller-bootstrap", "felhom-golden"}
	architectures = []string{"amd64", "arm64"}
)

// sums is the file of digests. Who trusts it, by its signature, can trust all other files.
const sums = "SHA256SUMS"

// release writes all files into a directory beside o.out, which becomes o.out when it is complete.
func release(ctx context.Context, o options) (err error) {
	if err := checkOut(o.out); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(o.out), ".release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	out, parts := filepath.Join(work, "out"), filepath.Join(work, "parts")
	for _, dir := range []string{out, parts} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := checkPrograms(o); err != nil {
		return err
	}
	for _, arch := range o.arches {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := tarball(filepath.Join(out, fmt.Sprintf("felhom_%s_linux_%s.tar.gz", o.version.text, arch)), arch, o); err != nil {
			return fmt.Errorf("tarball for %s: %w", arch, err)
		}
		if err := packages(ctx, out, parts, arch, o); err != nil {
			return fmt.Errorf("packages for %s: %w", arch, err)
		}
	}
	bom, err := billOfMaterials(o)
	if err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, "felhom_"+o.version.text+".cdx.json"), bom, 0o644); err != nil {
		return err
	}
	if err := writeSums(out, o); err != nil {
		return err
	}
	return replace(out, o.out, filepath.Join(work, "old"))
}

// writeSums writes the digests of all files, and their signature.
func writeSums(dir string, o options) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	if err := os.WriteFile(filepath.Join(dir, sums), text.Bytes(), 0o644); err != nil || o.key == "" {
		return err
	}
	signature, err := sign(text.Bytes(), o)
	if err != nil {
		return fmt.Errorf("sign %s with %s: %w", sums, o.key, err)
	}
	return os.WriteFile(filepath.Join(dir, sums+".minisig"), signature, 0o644)
}

// zipped is data as "gzip -9n" has it: without name and time, so that the same data give the same bytes.
func zipped(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// section returns what CHANGELOG.md says of the version, or of what is not released yet, as the entries of a list.
func section(changelog, version string) []string {
	for _, title := range []string{"## " + version, "## v" + version, "## Unreleased"} {
		var entries []string
		in := false
		for line := range strings.SplitSeq(changelog, "\n") {
			if strings.HasPrefix(line, "## ") {
				in = line == title || strings.HasPrefix(line, title+" ")
				continue
			}
			switch {
			case !in || strings.TrimSpace(line) == "":
			case strings.HasPrefix(line, "- "):
				entries = append(entries, line[2:])
			case len(entries) > 0:
				entries[len(entries)-1] += " " + strings.TrimSpace(line)
			}
		}
		if len(entries) > 0 {
			return entries
		}
	}
	return nil
}

// debianChangelog is the one entry of a package's changelog, in the form of deb-changelog(5).
func debianChangelog(name, changelog, maintainer string, o options) ([]byte, error) {
	entries := section(changelog, o.version.text)
	if len(entries) == 0 {
		return nil, errors.New("CHANGELOG.md has neither a section of this version nor an Unreleased one")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s (%s) unstable; urgency=medium\n\n", name, o.version.debian)
	for _, e := range entries {
		fmt.Fprintf(&b, "  * %s\n", strings.Join(wrap(e, 74), "\n    "))
	}
	fmt.Fprintf(&b, "\n -- %s  %s\n", maintainer, o.time.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	return b.Bytes(), nil
}

// wrap breaks text at spaces into lines of at most columns bytes, where its words allow.
func wrap(text string, columns int) (lines []string) {
	for word := range strings.FieldsSeq(text) {
		if last := len(lines) - 1; last >= 0 && len(lines[last])+1+len(word) <= columns {
			lines[last] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}
