package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxSums bounds a file of digests, which has a line of some 100 bytes for each file of a release.
const maxSums = 64 << 10

// checkOut refuses what is not a release: it would be removed whole. A directory is one if it is empty, or if it has nothing but
// SHA256SUMS, its signature and the files that SHA256SUMS names.
func checkOut(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return notRelease(dir, "it is not a directory")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	named, err := namesOf(filepath.Join(dir, sums))
	if errors.Is(err, fs.ErrNotExist) {
		return notRelease(dir, "it is not empty and has no "+sums)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !named[e.Name()] {
			return notRelease(dir, fmt.Sprintf("its %s does not name %q", sums, e.Name()))
		}
	}
	return nil
}

func notRelease(dir, why string) error {
	return fmt.Errorf("%s would be replaced, and is not a release: %s\nrelease: hint: name a directory that does not exist with -out, or remove that one yourself", dir, why)
}

// namesOf returns the names in a file of digests, its own and that of its signature.
func namesOf(file string) (map[string]bool, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSums {
		return nil, fmt.Errorf("%s: want a regular file of at most %d bytes", file, maxSums)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{sums: true, sums + ".minisig": true}
	for line := range strings.Lines(string(data)) {
		if _, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  "); ok {
			names[name] = true
		}
	}
	return names, nil
}

// replace gives the finished directory its name. What had the name is moved to old, from where it returns if that fails.
func replace(from, to, old string) error {
	if err := checkOut(to); err != nil { // also what was put there meanwhile
		return err
	}
	err := os.Rename(to, old)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Rename(from, to)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return errors.Join(err, os.Rename(old, to))
	}
	return nil
}
