package vzdump

import (
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
	frames Facts // what the decoder learns: compression and frames
	source *sourceReader
	ahead  *aheadReader // nil without a goroutine
	plain  *plainReader
	tar    *tarStream
	close  func()

	tree     tree
	prev     string
	err      error
	doneSize int64 // content bytes announced so far
	texts    int64 // bytes of names, links and attributes so far
}

// NewReader begins to read an archive. It finds out the compression by the
// first bytes, not by a name. The caller must Close the Reader and, as its
// owner, r. A context or a count of progress is put into r ([WithContext]).
func NewReader(r io.Reader, limits Limits) (*Reader, error) { return newReader(r, limits, false) }

// NewAheadReader is NewReader with a decoder in a goroutine of its own. It is
// faster if the archive is read to its end, and reads r further than the members
// that were asked for. Close does not wait for a Read of r that waits; after that
// Read nothing of r is read.
func NewAheadReader(r io.Reader, limits Limits) (*Reader, error) { return newReader(r, limits, true) }

func newReader(r io.Reader, limits Limits, ahead bool) (*Reader, error) {
	entry := &gate{r: r}
	ar := &Reader{limits: limits.withDefaults(), source: &sourceReader{r: entry}, tree: newTree()}
	plain, closer, err := decompress(ar.source, ar.limits, &ar.frames)
	if err != nil {
		return nil, ar.explain(err)
	}
	ar.close = closer
	ar.plain = &plainReader{r: plain, packed: func() int64 { return ar.decoded().packed }, limits: ar.limits}
	if ahead {
		ar.ahead = newAheadReader(plain, entry, ar.decoder)
		ar.plain.r = ar.ahead
	}
	ar.tar = &tarStream{r: ar.plain, limits: &ar.limits}
	return ar, nil
}

// decoder returns how far the decoder has come. With a decoder in a goroutine of
// its own only that one calls it.
func (r *Reader) decoder() decoded { return decoded{r.source.n, r.source.err, r.frames} }

// decoded returns how far the decoder had come with what was read.
func (r *Reader) decoded() decoded {
	if r.ahead != nil {
		return r.ahead.block.state
	}
	return r.decoder()
}

// Close frees the decoder. It does not close the source.
func (r *Reader) Close() {
	if r.close != nil {
		if r.ahead != nil && !r.ahead.close() {
			closer := r.close
			r.close = func() { go func() { r.ahead.wait(); closer() }() }
		}
		r.close()
		r.close = nil
	}
	if r.err == nil {
		r.err = errors.New("read archive: reader is closed")
	}
}

// Facts returns what is known so far; see [Facts.Complete].
func (r *Reader) Facts() Facts {
	f, now := r.facts, r.decoded()
	f.Compression, f.Window = now.frames.Compression, now.frames.Window
	f.FrameCount, f.Skippable, f.NoChecksum = now.frames.FrameCount, now.frames.Skippable, now.frames.NoChecksum
	f.Frames = slices.Clone(now.frames.Frames)
	f.Packed, f.Unpacked = now.packed, r.plain.n
	return f
}

// Next goes to the next member, whose content Read returns. After the last one
// it reads the source to its end, so that every checksum is checked, and
// returns io.EOF. Any other error is final.
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
	hdr, err := r.tar.next()
	if errors.Is(err, errEnd) {
		return nil, r.finish()
	}
	var e *Entry
	if err == nil {
		e, err = r.entry(hdr)
	}
	if err != nil {
		return nil, r.placed(err)
	}
	r.facts.Entries++
	r.facts.Odd |= e.Odd
	return e, nil
}

// placed adds to a refusal the member that it is about and where it begins.
func (r *Reader) placed(err error) error {
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Number == 0 {
		refused.Number, refused.Offset = r.facts.Entries+1, r.tar.started
	}
	return err
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

// maxFilling bounds the zeros after the end marker: GNU tar writes 9 KiB at most
// unless its blocking factor is raised, and a file of holes has them without end.
const maxFilling = 1 << 20

// finish reads what comes after the end marker: only zeros, in whole blocks. A
// member there would be seen by some readers of tar and not by others.
func (r *Reader) finish() error {
	buf := make([]byte, 32<<10)
	for most := r.plain.n + maxFilling; ; {
		n, err := r.plain.Read(buf)
		if r.plain.n > most {
			return refuse(ErrLimit, "", "the zeros after the end marker exceed the limit of %d bytes", maxFilling)
		}
		for i, c := range buf[:n] {
			if c != 0 {
				return refuse(ErrUnsupported, "", "bytes after the end marker, at byte %d of the tar stream", r.plain.n-int64(n)+int64(i))
			}
		}
		switch {
		case errors.Is(err, io.EOF) && r.plain.n%block != 0:
			return refuse(ErrCorrupt, "", "the tar stream has %d bytes, want whole blocks of %d", r.plain.n, block)
		case errors.Is(err, io.EOF):
			r.facts.Complete = true
			return io.EOF
		case err != nil:
			return err
		}
	}
}

// entry makes a header's Entry whole and places it in the tree.
func (r *Reader) entry(hdr *tarHeader) (*Entry, error) {
	if len(r.tree.at) >= r.limits.Entries || r.facts.Entries >= r.limits.Entries {
		return nil, refuse(ErrLimit, "", "the archive exceeds the limit of %d members and directories", r.limits.Entries)
	}
	path, odd, err := cleanPath(hdr.RawName, r.limits.Name, hdr.flag == '5')
	if err != nil {
		return nil, err
	}
	e := &hdr.Entry
	e.Path, e.Type, e.Index, e.Odd = path, typesByFlag[hdr.flag], r.facts.Entries, odd
	records := hdr.records
	hdr.records = nil // whoever keeps the entry does not keep them
	if err := readRecords(e, records); err != nil {
		return nil, err
	}
	e.Odd |= headerOddity(e)
	if err := r.kind(e); err != nil {
		return nil, err
	}
	if err := r.charge(e); err != nil {
		return nil, err
	}
	if err := r.place(e); err != nil {
		return nil, err
	}
	return e, r.checkConfig(e)
}

// charge counts the texts of a member: names, link text and attributes.
func (r *Reader) charge(e *Entry) error {
	n := len(e.RawName) + len(e.RawLink)
	for name, value := range e.Xattrs {
		n += len(name) + len(value)
	}
	if r.texts += int64(n); r.texts > r.limits.Texts {
		return refuse(ErrLimit, e.RawName, "names, link texts and attributes of all members so far exceed the limit of %d bytes", r.limits.Texts)
	}
	return nil
}

// kind checks what depends on the type of the member.
func (r *Reader) kind(e *Entry) error {
	switch e.Type {
	case File:
		// The limit is for the sum, so that holes, which need no bytes of the
		// stream, are bounded too.
		if e.Size > r.limits.Unpacked-r.doneSize {
			return refuse(ErrLimit, e.RawName, "the content so far and %d bytes here exceed %d bytes", e.Size, r.limits.Unpacked)
		}
		r.doneSize += e.Size
		e.Stored = r.tar.left
		r.facts.Content = r.doneSize
	case Symlink:
		switch {
		case e.RawLink == "" || strings.IndexByte(e.RawLink, 0) >= 0:
			return refuse(ErrCorrupt, e.RawName, "a symlink to %q", e.RawLink)
		case len(e.RawLink) > r.limits.Name:
			return refuse(ErrLimit, e.RawName, "the link text has %d bytes, which exceeds the limit of %d", len(e.RawLink), r.limits.Name)
		case hasControl(e.RawLink):
			e.Odd |= ControlChars
		}
		e.Link = e.RawLink
	case Link:
		target, _, err := cleanPath(e.RawLink, r.limits.Name, false)
		if err != nil {
			return fmt.Errorf("hard link %q: %w", e.RawName, err)
		}
		e.Link = target
	}
	if e.Path == "." && e.Type != Dir {
		return refuse(ErrUnsupported, e.RawName, "the root is a %s", e.Type)
	}
	return nil
}

// place checks e against the members before it and remembers it.
func (r *Reader) place(e *Entry) error {
	config := isConfigMember(e.Path)
	above := heldDir
	err := r.tree.parents(e.Path, func(dir string, id uint64) error {
		was := r.tree.at[id]
		inherits := above == heldHeir && was == 0
		above = was
		if inherits {
			return refuse(ErrUnsupported, e.RawName, "%q has no member of its own, and would inherit the group or access control list of its directory", dir)
		}
		switch was {
		case heldSymlink:
			return refuse(ErrEscape, e.RawName, "it is below %q, which is a symlink in this archive", dir)
		case heldFile:
			return refuse(ErrUnsupported, e.RawName, "it is below %q, which is not a directory in this archive", dir)
		case 0:
			if r.facts.Implied++; r.facts.Implied > r.limits.Implied {
				return refuse(ErrLimit, e.RawName, "more than %d directories without a member of their own", r.limits.Implied)
			}
			r.tree.at[id] = heldImplied
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
		r.tree.set(e.Path, heldDir) // restore does not apply its mode
	case was != 0:
		e.Odd |= Duplicate
	case e.Type == Link && r.tree.get(e.Link) == heldSymlink:
		r.tree.set(e.Path, heldSymlink) // a second name of a symlink leads to the same place as the first
	case e.Type == Dir && (e.Mode&0o2000 != 0 || e.DefaultACL != nil):
		r.tree.set(e.Path, heldHeir)
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
	err := r.tree.parents(e.Link, func(dir string, id uint64) error {
		if r.tree.at[id] == heldSymlink {
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

// isConfigParent reports whether the config members imply path. PVE's own
// archives always have ./etc/ after them.
func isConfigParent(path string) bool { return path == "etc" || path == "etc/vzdump" }

// configSuffixes are the names that PVE searches for the configuration: it
// takes the first member whose raw name *ends* in one of them.
var configSuffixes = [...]string{"./etc/vzdump/pct.conf", "./etc/vzdump/vps.conf"}

func (r *Reader) checkConfig(e *Entry) error {
	is := isConfigMember(e.Path)
	for _, suffix := range configSuffixes {
		is = is || strings.HasSuffix(e.RawName, suffix)
	}
	switch {
	case !is:
		return nil
	case !isConfigMember(e.Path):
		return refuse(ErrTwoConfigs, e.RawName, "PVE takes the first member whose name ends so for the guest's configuration, want ./%s only", ConfigPath)
	case e.Odd.Has(Duplicate):
		return refuse(ErrTwoConfigs, e.RawName, "it is there twice: want one")
	case e.Type != File || e.Odd.Has(Sparse):
		return refuse(ErrUnsupported, e.RawName, "it is a %s, want a regular file without holes", e.Type)
	}
	return nil
}
