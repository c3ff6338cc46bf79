package driver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// Mount is a directory of the host in a guest. No part of the source's path is
// a symbolic link.
type Mount = pctconf.Mount

// CheckMount refuses a mount that a hypervisor would accept and then fail on at
// the guest's next start, and one whose text would mean something else in a
// configuration.
func CheckMount(m Mount) error {
	for _, p := range []struct{ name, path string }{{"source", m.Source}, {"target", m.Target}} {
		if !filepath.IsAbs(p.path) || filepath.Clean(p.path) != p.path || p.path == "/" || strings.ContainsAny(p.path, ",\n\r\x00") {
			return fmt.Errorf("%w: %s %q: want a clean absolute path without commas", ErrRefused, p.name, p.path)
		}
	}
	if !m.IsDirectory() {
		return fmt.Errorf("%w: the source %s would be taken for a device", ErrRefused, m.Source)
	}
	if err := CheckDirectory(m.Source); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// CheckDirectory walks an absolute path as hypervisors do when a guest starts:
// each part must be a directory, and not a symbolic link to one.
func CheckDirectory(path string) error {
	part := "/"
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		part = filepath.Join(part, name)
		info, err := os.Lstat(part)
		switch {
		case err != nil:
			return err
		case info.Mode()&os.ModeSymlink != 0:
			return fmt.Errorf("%s is a symbolic link, which is not followed for the mount of %s", part, path)
		case !info.IsDir():
			return fmt.Errorf("%s is not a directory", part)
		}
	}
	return nil
}

// CheckOwner refuses a mount that does not belong to guest vmid: of the host's
// directories, only the one with its number below dir does, which holds its
// token. With dir "" every directory may be mounted.
func CheckOwner(dir string, vmid int, m Mount) error {
	switch {
	case !strings.HasPrefix(m.Source, "/"):
		return pctconf.CheckVolume(m.Source, vmid)
	case !m.IsDirectory():
		return errors.New("a device of the host")
	case filepath.Clean(m.Source) != m.Source:
		return errors.New("not a clean path")
	case dir == "" || m.Source == filepath.Join(dir, strconv.Itoa(vmid)):
		return nil
	}
	return fmt.Errorf("of the host's directories a guest may mount its own one only, %s", filepath.Join(dir, strconv.Itoa(vmid)))
}
