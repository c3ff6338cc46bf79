package debroot

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
)

// seeder writes the content of packages below a root so that the root's own dpkg can run. dpkg unpacks them again, and properly.
type seeder struct {
	root *os.Root
	dirs []timed
	buf  []byte
}

// timed is a directory whose time is set when nothing is written to it any more.
type timed struct {
	name string
	time time.Time
}

// seed writes the files of packages, in their order, as tar does with --keep-directory-symlink. No name leads out of the root.
func seed(ctx context.Context, root *os.Root, files []string) error {
	s := seeder{root: root, buf: make([]byte, 256<<10)}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := s.pack(file); err != nil {
			return fmt.Errorf("extract %s: %w", file, err)
		}
	}
	for _, d := range s.dirs { // of several packages with one directory the last one's time counts
		if err := s.setTime(d.name, d.time); err != nil {
			return err
		}
	}
	return nil
}

func (s *seeder) pack(file string) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := member(f, dataName)
	if err != nil {
		return err
	}
	for r := tar.NewReader(data); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.entry(h, r); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// aptSettings are the files by which an essential package would change how the others are installed: the root's own apt reads them, with
// the hooks that they have, but this machine's does not.
var aptSettings = regexp.MustCompile(`^etc/apt/(apt\.conf|preferences)(\.d/.*)?$`)

// questionHook is Debian's own such file. Its hook asks questions before packages are unpacked, which it does not do without
// apt-utils; they are asked when packages are configured, with the same answers.
const questionHook = "etc/apt/apt.conf.d/70debconf"

func (s *seeder) entry(h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	if !filepath.IsLocal(name) {
		return fault.Errorf(fault.Invalid, "want a name below the root")
	}
	if h.Typeflag != tar.TypeDir && aptSettings.MatchString(name) && name != questionHook {
		return fault.WrapHint(fault.Invalid, errors.New("an essential package has settings of apt, which would count for the others"), useReferee)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return s.dir(name, h)
	case tar.TypeReg:
		return s.file(name, h, content)
	case tar.TypeLink:
		if !filepath.IsLocal(path.Clean(h.Linkname)) {
			return fault.Errorf(fault.Invalid, "a hard link to %q: want a name below the root", h.Linkname)
		}
		return s.fresh(name, func() error { return s.root.Link(path.Clean(h.Linkname), name) })
	case tar.TypeSymlink:
		if err := s.fresh(name, func() error { return s.root.Symlink(h.Linkname, name) }); err != nil {
			return err
		}
		if err := s.root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
		return s.setTime(name, h.ModTime)
	}
	return fault.Errorf(fault.Invalid, "want a file, directory or link, got type %q", h.Typeflag)
}

// fresh calls create, and removes what has the name if there is something.
func (s *seeder) fresh(name string, create func() error) error {
	err := create()
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.root.Remove(name); err != nil {
		return err
	}
	return create()
}

func (s *seeder) dir(name string, h *tar.Header) error {
	err := s.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, statErr := s.root.Lstat(name)
		if statErr == nil && info.Mode().Type() == fs.ModeSymlink {
			if info, statErr = s.root.Stat(name); statErr == nil && info.IsDir() {
				return nil // such as /bin where /usr has all
			}
		}
		if statErr != nil || !info.IsDir() {
			return errors.Join(err, statErr)
		}
		err = nil
	}
	if err != nil {
		return err
	}
	s.dirs = append(s.dirs, timed{name, h.ModTime})
	if err := s.root.Lchown(name, h.Uid, h.Gid); err != nil {
		return err
	}
	return s.root.Chmod(name, h.FileInfo().Mode())
}

func (s *seeder) file(name string, h *tar.Header, content io.Reader) (err error) {
	var f *os.File
	err = s.fresh(name, func() (err error) {
		f, err = s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.CopyBuffer(onlyWriter{f}, content, s.buf); err != nil {
		return err
	}
	if err := f.Chown(h.Uid, h.Gid); err != nil {
		return err
	}
	if err := f.Chmod(h.FileInfo().Mode()); err != nil {
		return err
	}
	ts := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
}

// onlyWriter hides ReadFrom, which would not use the buffer.
type onlyWriter struct{ io.Writer }

// setTime sets the time of name, which may be a link, relative to its directory: os.Root does it for what a link leads to.
func (s *seeder) setTime(name string, t time.Time) (err error) {
	d, err := s.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	ts := unix.NsecToTimespec(t.UnixNano())
	if err := unix.UtimesNanoAt(int(d.Fd()), path.Base(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time of %s: %w", name, err)
	}
	return nil
}

// lay makes what has to be in a root before the first package is.
func lay(root *os.Root, arch string) error {
	for _, dir := range []string{
		"etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/dpkg/dpkg.cfg.d",
		"var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log/apt",
		"var/lib/dpkg/alternatives", "var/lib/dpkg/info", "var/lib/dpkg/triggers", "var/lib/dpkg/updates", "tmp",
	} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, mode := range map[string]fs.FileMode{"tmp": 0o777 | fs.ModeSticky, "var/cache/apt/archives/partial": 0o700, "var/lib/apt/lists/partial": 0o700} {
		if err := root.Chmod(name, mode); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, text string }{
		{"etc/fstab", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"},
		{"etc/hostname", "localhost\n"},
		{"etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"},
		{"etc/resolv.conf", ""},
		{"var/lib/dpkg/arch", arch + "\n"},
		{"var/lib/dpkg/status", ""},
	} {
		if err := root.WriteFile(f.name, []byte(f.text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes the logs and caches that dpkg and the packages' scripts have written, and the machine's identity.
func tidy(root *os.Root) error {
	for _, name := range []string{"var/log/dpkg.log", "var/log/alternatives.log", "var/cache/ldconfig/aux-cache", "var/lib/dbus/machine-id", "etc/machine-id"} {
		err := root.Remove(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && name == "etc/machine-id" {
			if err := root.WriteFile(name, nil, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// autoInstalled is apt's record of the packages that were not asked for by name: it may remove them when nothing needs them any more.
func autoInstalled(names []string, arch string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "Package: %s\nArchitecture: %s\nAuto-Installed: 1\n\n", name, arch)
	}
	return b.String()
}
