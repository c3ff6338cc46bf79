package verify

import (
	"context"
	"crypto/md5" //nolint:gosec // dpkg records MD5; it is compared with what dpkg wrote, not trusted
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	// maxIndexBytes bounds the index: names, links and a fixed part for each
	// member. It is enough for 80,000 members of ordinary names;
	// a golden has less than a tenth of that.
	maxIndexBytes = 28 << 20
	// entryBytes is what one member costs besides its texts: here, in the map of
	// paths, and in the reader's own.
	entryBytes = 288
	// maxCaps is more than file capabilities have; the rest is of no use.
	maxCaps = 32
	// maxHoles bounds the zeros that are read in place of holes. A sparse file
	// beyond it is not searched: a rule reports every sparse file.
	maxHoles = 1 << 30
	// maxBytes bounds both, the index and the content.
	maxBytes = 36 << 20
	// hitBytes is what one secret, and libraryBytes what one library of a
	// program costs besides its texts.
	hitBytes, libraryBytes = 96, 32
	// binaryBytes is what one program costs.
	binaryBytes = 320
	// maxKeptBytes bounds the content that is kept for the rules.
	maxKeptBytes = 16 << 20
	// maxKeptFile is the largest file that is kept; dpkg's status is larger
	// than any other file that a rule reads.
	maxKeptFile = 8 << 20
	// maxSettings is the largest file of settings that is kept.
	maxSettings = 256 << 10
	// maxScanned is the largest file that is searched for secrets: what people
	// leave behind is small, and programs hold too much that looks like keys.
	maxScanned = 512 << 10
)

// entry is what the index keeps of one member.
type entry struct {
	path    string
	link    string
	typ     vzdump.Type
	mode    uint32
	uid     int
	gid     int
	size    int64
	mtime   int64 // seconds since 1970
	odd     vzdump.Oddity
	hashed  bool
	md5     [md5.Size]byte
	caps    string // file capabilities, cut to maxCaps
	hasCaps bool
	white   bool // device 0:0, an overlay whiteout
}

// image is what one pass over an archive leaves in memory.
type image struct {
	name    string
	facts   vzdump.Facts
	sha256  string
	entries []*entry
	byPath  map[string]*entry // the first of each path: the one that restore keeps
	content map[string][]byte
	elves   []binary
	secrets []secret
	named   []secret        // hits of build names
	config  *pctconf.Config // pct.conf, when a rule has asked for it

	configFindings []pctconf.Finding
	index, kept    int            // bytes, held against the limits
	copying        [32 << 10]byte // one for all members: a buffer each was most of the memory
}

// collect reads the archive to its end.
func collect(ctx context.Context, r io.Reader, name string, opts Options) (*image, error) {
	img := &image{name: name, byPath: map[string]*entry{}, content: map[string][]byte{}}
	sums := newSummer()
	defer sums.close() // before anybody reads the sums, which is after this function
	sum := sha256.New()
	src := io.TeeReader(vzdump.WithContext(ctx, r), sum)
	zr, err := vzdump.NewReader(src, vzdump.Limits{Entries: maxIndexBytes / entryBytes})
	if err != nil {
		return nil, err
	}
	defer zr.Close()
	buf := make([]byte, headBytes)
	holes := int64(0)
	for {
		m, err := zr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		e := &entry{
			path: m.Path, link: m.Link, typ: m.Type, mode: m.Mode, uid: m.UID, gid: m.GID, size: m.Size,
			mtime: m.ModTime.Unix(), odd: m.Odd, white: m.DevMajor == 0 && m.DevMinor == 0,
		}
		cost := entryBytes + len(e.path) + len(e.link)
		if caps, ok := m.Xattrs[vzdump.CapabilityXattr]; ok {
			e.caps, e.hasCaps = strings.Clone(caps[:min(len(caps), maxCaps)]), true
			cost += len(e.caps)
		}
		if err := img.charge(cost, 0); err != nil {
			return nil, err
		}
		img.entries = append(img.entries, e)
		if _, ok := img.byPath[e.path]; !ok {
			img.byPath[e.path] = e
		}
		if e.typ != vzdump.File {
			continue
		}
		if e.odd.Has(vzdump.Sparse) {
			if holes += e.size; holes > maxHoles {
				continue
			}
		}
		data, err := img.read(zr, e, buf, sums, opts)
		if err != nil {
			return nil, err
		}
		if data != nil && img.content[e.path] == nil {
			if err := img.charge(0, len(data)); err != nil {
				return nil, err
			}
			img.content[e.path] = append([]byte{}, data...)
		}
	}
	img.facts = zr.Facts()
	img.sha256 = hex.EncodeToString(sum.Sum(nil))
	return img, nil
}

// charge counts what is kept, in the index and as content.
func (img *image) charge(index, kept int) error {
	img.index += index
	img.kept += kept
	what := ""
	switch {
	case img.index > maxIndexBytes:
		what = fmt.Sprintf("names of members, libraries and secrets take more than %d MiB", maxIndexBytes>>20)
	case img.kept > maxKeptBytes:
		what = fmt.Sprintf("settings and package data take more than %d MiB", maxKeptBytes>>20)
	case img.index+img.kept > maxBytes:
		what = fmt.Sprintf("names, settings and package data take more than %d MiB", maxBytes>>20)
	default:
		return nil
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("%w: %s", vzdump.ErrLimit, what), "an image has some thousand members; this archive cannot be checked in bounded memory")
}

// chargeHits counts what was found in the content of the last file.
func (img *image) chargeHits(secrets, named, elves int) error {
	cost := (len(img.secrets) - secrets + len(img.named) - named) * hitBytes
	for _, b := range img.elves[elves:] {
		cost += binaryBytes + len(b.interp) + len(b.bad)
		for _, name := range b.needed {
			cost += libraryBytes + len(name)
		}
	}
	return img.charge(cost, 0)
}

// read takes one file's content from the stream: its MD5, what ELF, secret and
// name checks need of it, and the content itself where a rule looks into it.
func (img *image) read(r io.Reader, e *entry, buf []byte, sums *summer, opts Options) ([]byte, error) {
	n, err := io.ReadFull(r, buf[:min(int64(len(buf)), e.size)])
	if err != nil && e.size > 0 {
		return nil, err
	}
	head := buf[:n]
	tail := &dynamicTap{at: int64(n)}
	isELF := strings.HasPrefix(string(head[:min(4, n)]), "\x7fELF")
	if isELF {
		tail.want(head)
	}
	if _, err := sums.Write(head); err != nil {
		return nil, err
	}
	if _, err := io.CopyBuffer(io.MultiWriter(sums, tail), r, img.copying[:]); err != nil {
		return nil, err
	}
	sums.end(e)
	secrets, named, elves := len(img.secrets), len(img.named), len(img.elves)
	switch {
	case isELF:
		img.elves = append(img.elves, readELF(e.path, head, tail))
	case e.size <= maxScanned:
		img.secrets = append(img.secrets, scanSecrets(e.path, head)...)
		img.named = append(img.named, scanNames(e.path, head, opts.BuildNames)...)
	}
	if err := img.chargeHits(secrets, named, elves); err != nil {
		return nil, err
	}
	if e.size <= int64(len(buf)) && e.size <= maxKeptFile && wanted(e.path, e.size) {
		return head, nil
	}
	return nil, nil
}

// wanted says whether a rule looks into the file.
func wanted(name string, size int64) bool {
	switch {
	case name == "var/lib/dpkg/status", name == "var/lib/dpkg/diversions", name == "var/lib/dpkg/triggers/Unincorp", name == "usr/lib/os-release":
		return true
	case size > maxSettings:
		return false
	case strings.HasPrefix(name, "etc/ssl/"), strings.HasPrefix(name, "etc/ca-certificates/"):
		return false
	case strings.HasPrefix(name, "etc/"):
		return true
	case strings.HasPrefix(name, "var/lib/dpkg/info/"):
		return strings.HasSuffix(name, ".md5sums")
	}
	return strings.Contains(name, "lib/systemd/system/") || strings.Contains(name, "lib/systemd/system-preset/")
}

// lookup finds what a path leads to, through links in any of its elements, as
// inside the guest. The second result is where that is; nil means nothing, or
// a loop.
func (img *image) lookup(name string) (*entry, string) {
	at := "."
	rest := strings.Split(strings.Trim(name, "/"), "/")
	for hops := 0; len(rest) > 0; {
		elem := rest[0]
		rest = rest[1:]
		switch elem {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, elem)
		e := img.byPath[next]
		// A folder without a member is implied: the guest configuration comes
		// before the folders that it lies in.
		if e == nil || e.typ != vzdump.Symlink {
			at = next
			continue
		}
		if hops++; hops > 40 { // the kernel's own limit
			return nil, next
		}
		if strings.HasPrefix(e.link, "/") {
			at = "."
		}
		rest = append(strings.Split(strings.Trim(e.link, "/"), "/"), rest...)
	}
	e := img.byPath[at]
	if e != nil && e.typ == vzdump.Link {
		if target := img.byPath[e.link]; target != nil {
			return target, e.link
		}
	}
	return e, at
}

// text returns the kept content of what a path leads to.
func (img *image) text(name string) (string, bool) {
	_, at := img.lookup(name)
	data, ok := img.content[at]
	return string(data), ok
}

// below lists the members below a folder, in the order of the archive.
func (img *image) below(dir string) []*entry {
	var found []*entry
	for _, e := range img.entries {
		if strings.HasPrefix(e.path, dir) && len(e.path) > len(dir) && e.path[len(dir)] == '/' {
			found = append(found, e)
		}
	}
	return found
}

// allowed says whether a path is on a list of exceptions; see [Allow].
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
