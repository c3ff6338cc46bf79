package vzdump

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Reader reads an archive member by member, bounded by its limits. It is not
// safe for use from several goroutines.
type Reader struct {
	limits Limits
	facts  Facts
	source *sourceReader
	plain  *plainReader
	tar    *tar.Reader
	close  func()

	tree     tree
	prev     string
	config   string // raw name of the member that is the configuration
	globals  int
	err      error
	doneSize int64 // content bytes announced so far
}

// NewReader begins to read an archive; the compression is found by its first
// bytes, not by a name. The caller must Close the Reader, and stays the owner
// of r. Context and progress belong into r.
func NewReader(r io.Reader, limits Limits) (*Reader, error) {
	ar := &Reader{limits: limits.withDefaults(), source: &sourceReader{r: r}, tree: newTree()}
	plain, closer, err := decompress(ar.source, ar.limits, &ar.facts)
	if err != nil {
		return nil, ar.explain(err)
	}
	ar.close = closer
	ar.plain = &plainReader{r: plain, packed: &ar.source.n, limits: ar.limits}
	ar.tar = tar.NewReader(ar.plain)
	return ar, nil
}

// Close frees the decoder. It does not close the source.
func (r *Reader) Close() {
	if r.close != nil {
		r.close()
		r.close = nil
	}
	if r.err == nil {
		r.err = errors.New("read archive: reader is closed")
	}
}

// Facts returns what is known so far; see [Facts.Complete].
func (r *Reader) Facts() Facts {
	f := r.facts
	f.Packed = r.source.n
	f.Unpacked = r.plain.n
	f.Frames = slices.Clone(f.Frames)
	return f
}

// Next goes to the next member; its content comes from Read. After the last it
// reads the source to its end, so that every checksum was checked, and returns
// io.EOF. Any other error is final.
func (r *Reader) Next() (*Entry, error) {
	if r.err != nil {
		return nil, r.err
	}
	e, err := r.next()
	if err != nil {
		r.err = r.explain(err)
		return nil, r.err
	}
	return e, nil
}

func (r *Reader) next() (*Entry, error) {
	for {
		hdr, err := r.tar.Next()
		if errors.Is(err, io.EOF) {
			return nil, r.finish()
		}
		if err != nil {
			return nil, err
		}
		if hdr.Typeflag == tar.TypeXGlobalHeader {
			if err := r.global(hdr); err != nil {
				return nil, err
			}
			continue
		}
		e, err := r.entry(hdr)
		if err != nil {
			return nil, err
		}
		r.facts.Entries++
		r.facts.Odd |= e.Odd
		return e, nil
	}
}

// Read reads the content of the current member.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.tar.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = r.explain(err)
		err = r.err
	}
	return n, err
}

// finish handles the end of the tar stream.
func (r *Reader) finish() error {
	if r.plain.ended {
		return refuse(ErrTruncated, "", "no end marker after %d members", r.facts.Entries)
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.plain.Read(buf)
		for _, c := range buf[:n] {
			if c != 0 {
				r.facts.Trailing++
			}
		}
		if errors.Is(err, io.EOF) {
			r.facts.Complete = true
			return io.EOF
		}
		if err != nil {
			return err
		}
	}
}

// global handles a pax header that is for all members after it. GNU tar
// applies it and archive/tar does not: with anything but a comment the tree
// that we judge would not be the tree that PVE makes.
func (r *Reader) global(hdr *tar.Header) error {
	r.facts.GlobalHeaders++
	for key := range hdr.PAXRecords {
		if key != "comment" {
			return refuse(ErrUnsupported, "", "a global pax header sets %q for all members", key)
		}
	}
	if r.globals++; r.globals > 1000 {
		return refuse(ErrLimit, "", "more than 1000 global pax headers")
	}
	return nil
}

// entry turns a header into an Entry and places it in the tree.
func (r *Reader) entry(hdr *tar.Header) (*Entry, error) {
	if len(r.tree.at) >= r.limits.Entries || r.facts.Entries >= r.limits.Entries {
		return nil, refuse(ErrLimit, "", "more than %d members and directories", r.limits.Entries)
	}
	if err := r.checkPAX(hdr); err != nil {
		return nil, err
	}
	path, odd, err := cleanPath(hdr.Name, r.limits.Name)
	if err != nil {
		return nil, err
	}
	e := &Entry{
		Path: path, Type: typeOf(hdr), Mode: uint32(hdr.Mode & 0o7777), UID: hdr.Uid, GID: hdr.Gid, ModTime: hdr.ModTime,
		RawName: hdr.Name, RawLink: hdr.Linkname, Uname: hdr.Uname, Gname: hdr.Gname,
		DevMajor: hdr.Devmajor, DevMinor: hdr.Devminor, PAX: hdr.PAXRecords, Index: r.facts.Entries, Odd: odd,
	}
	if e.UID < 0 || e.GID < 0 {
		return nil, refuse(ErrCorrupt, e.RawName, "owner %d:%d is negative", e.UID, e.GID)
	}
	readRecords(e)
	e.Odd |= headerOddity(hdr, e)
	if err := r.kind(e, hdr); err != nil {
		return nil, err
	}
	if err := r.place(e); err != nil {
		return nil, err
	}
	return e, r.checkConfig(e)
}

// kind checks what depends on the type of the member.
func (r *Reader) kind(e *Entry, hdr *tar.Header) error {
	slash := strings.HasSuffix(e.RawName, "/")
	switch e.Type {
	case File:
		e.Size = hdr.Size
		// The limit holds for the sum, so that holes, which cost no stream
		// bytes, are bounded too.
		if e.Size > r.limits.Unpacked-r.doneSize {
			return refuse(ErrLimit, e.RawName, "the content so far and %d bytes here exceed %d bytes", e.Size, r.limits.Unpacked)
		}
		r.doneSize += e.Size
		r.facts.Content = r.doneSize
	case Dir:
		if !slash && e.RawName != "." {
			e.Odd |= NotClean
		}
	case Symlink:
		switch {
		case e.RawLink == "" || strings.IndexByte(e.RawLink, 0) >= 0:
			return refuse(ErrCorrupt, e.RawName, "a symlink to %q", e.RawLink)
		case len(e.RawLink) > r.limits.Name:
			return refuse(ErrLimit, e.RawName, "the link text has %d bytes, at most %d are taken", len(e.RawLink), r.limits.Name)
		case hasControl(e.RawLink):
			e.Odd |= ControlChars
		}
		e.Link = e.RawLink
	case Link:
		target, _, err := cleanPath(e.RawLink, r.limits.Name)
		if err != nil {
			return fmt.Errorf("hard link %q: %w", e.RawName, err)
		}
		e.Link = target
	}
	// GNU tar makes a directory of any file whose name ends in a slash; the
	// types would then differ between judge and restore.
	if slash && e.Type != Dir {
		return refuse(ErrUnsupported, e.RawName, "a %s whose name ends in a slash", e.Type)
	}
	if e.Path == "." && e.Type != Dir {
		return refuse(ErrUnsupported, e.RawName, "the root is a %s", e.Type)
	}
	return nil
}

// place checks e against the members before it and remembers it.
func (r *Reader) place(e *Entry) error {
	config := isConfigMember(e.Path)
	err := parents(e.Path, func(dir string) error {
		switch r.tree.get(dir) {
		case heldSymlink:
			return refuse(ErrEscape, e.RawName, "it lies below %q, which is a symlink in this archive", dir)
		case heldFile:
			return refuse(ErrUnsupported, e.RawName, "it lies below %q, which is no directory in this archive", dir)
		case 0:
			r.tree.set(dir, heldImplied)
			fallthrough
		case heldImplied:
			if !config {
				e.Odd |= NoParent
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.Type == Link {
		if err := r.checkLink(e); err != nil {
			return err
		}
	}
	switch was := r.tree.get(e.Path); {
	case was == heldImplied && e.Type == Dir:
		if !isConfigParent(e.Path) {
			e.Odd |= LateDir
		}
		r.tree.set(e.Path, heldDir)
	case was != 0:
		e.Odd |= Duplicate
	case e.Type == Link && r.tree.get(e.Link) == heldSymlink:
		r.tree.set(e.Path, heldSymlink) // a second name of a symlink leads as far as the first
	default:
		r.tree.set(e.Path, heldBy(e.Type))
	}
	if strings.HasPrefix(e.Path, "dev/") {
		e.Odd |= UnderDev
	}
	if !config {
		if r.facts.Runs == 0 || comparePaths(r.prev, e.Path) >= 0 {
			r.facts.Runs++
		}
		r.prev = e.Path
	}
	return nil
}

// checkLink looks at a hard link's target.
func (r *Reader) checkLink(e *Entry) error {
	err := parents(e.Link, func(dir string) error {
		if r.tree.get(dir) == heldSymlink {
			return refuse(ErrEscape, e.RawName, "its hard link target %q goes through %q, which is a symlink in this archive", e.Link, dir)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if h := r.tree.get(e.Link); h != heldFile && h != heldSymlink || strings.HasPrefix(e.Link, "dev/") {
		e.Odd |= BadLink
	}
	return nil
}

func heldBy(t Type) held {
	switch t {
	case Dir:
		return heldDir
	case Symlink:
		return heldSymlink
	}
	return heldFile
}

func isConfigMember(path string) bool {
	return path == ConfigPath || path == FirewallPath
}

// isConfigParent says whether the config members imply path. PVE's own
// archives always have ./etc/ after them.
func isConfigParent(path string) bool { return path == "etc" || path == "etc/vzdump" }

// configSuffixes are what PVE looks for when it searches the configuration:
// it takes the first member whose raw name *ends* so.
var configSuffixes = [...]string{"./etc/vzdump/pct.conf", "./etc/vzdump/vps.conf"}

func (r *Reader) checkConfig(e *Entry) error {
	is := e.Path == ConfigPath
	for _, suffix := range configSuffixes {
		is = is || strings.HasSuffix(e.RawName, suffix)
	}
	if !is {
		return nil
	}
	if r.config != "" {
		return refuse(ErrTwoConfigs, e.RawName, "%q came before, and PVE would take that one", r.config)
	}
	r.config = e.RawName
	return nil
}
