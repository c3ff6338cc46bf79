package verify

import (
	"context"
	"crypto/md5" //nolint:gosec // dpkg records MD5; it is compared with what dpkg wrote, not trusted
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	// maxBytes bounds what is kept of one archive; a golden image takes a tenth.
	maxBytes = 36 << 20
	// maxHoles bounds the zeros that are read in place of holes. A sparse file
	// beyond it is not searched: a rule reports every sparse file.
	maxHoles = 1 << 30
	// maxSettings is the largest file of settings that is kept.
	maxSettings = 256 << 10
	// maxScanned is the largest file that is searched for secrets: what people
	// leave behind is small, and programs hold too much that looks like keys.
	maxScanned = 512 << 10
	// hitBytes is what one secret, libraryBytes what one library of a program,
	// and binaryBytes what one program costs apart from its texts.
	hitBytes, libraryBytes, binaryBytes = 96, 32, 320
)

// subject is an archive as the rules see it.
type subject struct {
	*image.Image
	name     string
	sha256   string
	binaries []binary
	secrets  []secret
	names    []secret       // hits of the build machine's names
	copying  [32 << 10]byte // one for all members: a buffer each was most of the memory
}

// scan reads the archive to its end. with has what is to be recorded or is known.
func scan(ctx context.Context, r io.Reader, name string, opts Options, with image.Options) (*subject, error) {
	s := &subject{name: name}
	sum := sha256.New()
	with.MaxBytes, with.MaxHoles, with.Hash, with.Keep = maxBytes, maxHoles, md5.New(), isKept //nolint:gosec // see the import
	with.Visit = func(e *image.Entry, head []byte, rest io.Reader) (int64, error) {
		return s.visit(e, head, rest, opts.BuildNames)
	}
	img, err := image.Read(ctx, io.TeeReader(r, sum), with)
	if err != nil {
		return nil, err
	}
	s.Image, s.sha256 = img, hex.EncodeToString(sum.Sum(nil))
	return s, nil
}

// hasPackage reports whether the package is installed.
func (s *subject) hasPackage(name string) bool {
	packages, _ := s.Packages() // packages-complete reports a bad status file
	_, ok := slices.BinarySearchFunc(packages, name, func(p image.Package, name string) int { return strings.Compare(p.Name, name) })
	return ok
}

// visit looks for what the checks of programs, secrets and names need of a
// file, and returns the bytes that are kept.
func (s *subject) visit(e *image.Entry, head []byte, rest io.Reader, names []string) (int64, error) {
	cost := 0
	switch {
	case strings.HasPrefix(string(head[:min(4, len(head))]), "\x7fELF"):
		tail := &dynamicTap{at: int64(len(head))}
		tail.want(head)
		if tail.end > tail.at {
			if _, err := io.CopyBuffer(tail, rest, s.copying[:]); err != nil {
				return 0, err
			}
		}
		b := readELF(e.Path, head, tail)
		b.of = e
		s.binaries = append(s.binaries, b)
		cost = binaryBytes + len(b.Interp) + len(b.Bad)
		for _, name := range b.Needed {
			cost += libraryBytes + len(name)
		}
	case e.Size <= maxScanned:
		secrets, named := scanSecrets(e.Path, head), scanNames(e.Path, head, names)
		for i := range secrets {
			secrets[i].of = e
		}
		for i := range named {
			named[i].of = e
		}
		s.secrets, s.names = append(s.secrets, secrets...), append(s.names, named...)
		cost = (len(secrets) + len(named)) * hitBytes
	}
	return int64(cost), nil
}

// isKept reports whether the content of a file is kept.
func isKept(name string, size int64) bool {
	return isRead(name, size) || contents.Wants(name, vzdump.File)
}

// isRead reports whether a rule looks into the file.
func isRead(name string, size int64) bool {
	switch {
	case name == "var/lib/dpkg/diversions", name == "var/lib/dpkg/triggers/Unincorp":
		return true
	case name == contents.Path:
		return size <= contents.MaxBytes
	case size > maxSettings, strings.HasPrefix(name, "etc/ssl/"), strings.HasPrefix(name, "etc/ca-certificates/"):
		return false
	case strings.HasPrefix(name, "var/lib/dpkg/info/"):
		return strings.HasSuffix(name, ".md5sums")
	}
	return strings.HasPrefix(name, "etc/")
}

// allowed reports whether a path is on a list of exceptions; see [Allow].
func allowed(list []string, name string) bool {
	for _, pattern := range list {
		pattern = strings.TrimPrefix(pattern, "/")
		if strings.HasSuffix(pattern, "/") && strings.HasPrefix(name, pattern) {
			return true
		}
		if pattern == name {
			return true
		}
		// Almost no name is on a list; the letters before the first wildcard say so.
		if wild := strings.IndexAny(pattern, `*?[\`); wild < 0 || !strings.HasPrefix(name, pattern[:wild]) {
			continue
		}
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}
