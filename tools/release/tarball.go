package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// shipped are the files of the repository that a tarball has, beside the programs: those that git knows below these paths.
var shipped = []string{"CHANGELOG.md", "LICENSE", "README.md", "contrib", "docs", "examples", "packer", "systemd/felhom-agentd.service"}

// file is a member of a tarball.
type file struct {
	name       string // below the tarball's one directory
	source     string
	executable bool
}

// tarball writes the programs of one architecture with the documentation.
func tarball(to, arch string, o options) error {
	files, err := shippedFiles()
	if err != nil {
		return err
	}
	for _, p := range programs {
		files = append(files, file{name: p, source: filepath.Join(o.programs, p+"-linux-"+arch), executable: true})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	top := fmt.Sprintf("felhom-%s-linux-%s", o.version.text, arch)
	made := map[string]bool{}
	for _, f := range files {
		for _, dir := range parents(path.Join(top, f.name)) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: o.time, Format: tar.FormatUSTAR}); err != nil {
				return err
			}
		}
		data, err := os.ReadFile(f.source)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if f.executable {
			mode = 0o755
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(top, f.name), Mode: mode, Size: int64(len(data)), ModTime: o.time, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	data, err := zipped(archive.Bytes())
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// shippedFiles asks git, so that what happens to be in a directory of a developer is not in a release.
func shippedFiles() ([]file, error) {
	listed, err := exec.Command("git", append([]string{"ls-files", "--stage", "-z", "--"}, shipped...)...).Output() //nolint:noctx // a list of files, at once
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var files []file
	for line := range strings.SplitSeq(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
		mode, name, ok := strings.Cut(line, "\t")
		if !ok || !strings.HasPrefix(mode, "100") {
			return nil, fmt.Errorf("git ls-files: want regular files, got %q", line)
		}
		files = append(files, file{name: name, source: filepath.FromSlash(name), executable: strings.HasPrefix(mode, "100755")})
	}
	return files, nil
}

// parents returns the directories above name, the outermost first.
func parents(name string) (dirs []string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}
