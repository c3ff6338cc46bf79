// Package image reads an archive once, as a stream, into what can be judged,
// reported and compared: members, small files, units, packages and pct.conf.
// Call [Read]; all questions to the [Image] are answered from memory. It opens
// no file, judges nothing and takes bounded memory, whatever the archive holds.
package image

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/felhom/felhom-golden/golden/internal/sums"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	// entryBytes is what one member costs apart from its texts: here, in the map of
	// paths, and in the reader's own.
	entryBytes = 320
	// headBytes is how much of a file that is not kept is in memory at a time.
	headBytes = 4 << 20
	// MaxKept is the largest file that is kept, in bytes; dpkg's status is larger than
	// any other file that is looked into.
	MaxKept = 8 << 20
)

// Options choose what is kept. The zero value keeps no more than units,
// packages, os-release and pct.conf need, and all members.
type Options struct {
	// MaxBytes bounds what is kept, members and content together.
	MaxBytes int64
	// MaxHoles bounds the content of sparse files that is read: each byte of a
	// hole costs as much time as any other.
	MaxHoles int64
	// Hash, if not nil, takes the digest of each file, of at most 32 bytes.
	Hash hash.Hash
	// Attributes keeps [Extra.Xattrs].
	Attributes bool
	// Record keeps what [Image.Tail] needs. It takes the memory of all headers.
	Record bool
	// Tail, if not nil, is what an earlier pass found in the frames after those that
	// are read: Read gets the archive without them.
	Tail *Tail

	// Index, if not nil, selects the members that are kept without content.
	Index func(*vzdump.Entry) bool
	// Keep, if not nil, selects more files whose content is kept.
	Keep func(name string, size int64) bool
	// Count, if not nil, is called with each member but duplicates. It returns
	// the bytes that it keeps.
	Count func(*vzdump.Entry) int64
	// Visit, if not nil, is called with each file that is indexed: the whole of
	// it or its first 4 MiB, and what comes after. head is overwritten later. It
	// returns the bytes that it keeps.
	Visit func(e *Entry, head []byte, rest io.Reader) (int64, error)
}

// Image is what one pass over an archive leaves in memory.
type Image struct {
	Facts   vzdump.Facts
	Entries []*Entry          // in the order of the archive
	ByPath  map[string]*Entry // the first of each path: the one that restore keeps
	Content map[string][]byte // of the files that are kept
	// Skipped are files that exceed a limit: too large to be kept, or sparse and
	// not read.
	Skipped []*Entry

	config   *pctconf.Config
	findings []pctconf.Finding
	units    *Units
	packages func() ([]Package, error)
	recorded *recorded // or nil
}

// Read reads the archive r to its end. An archive that is hostile, truncated
// or exceeds a limit has kind [fault.Invalid].
func Read(ctx context.Context, r io.Reader, opts Options) (_ *Image, err error) {
	limits := vzdump.Limits{}
	if opts.Index == nil {
		limits.Entries = int(opts.MaxBytes / entryBytes)
	}
	in, err := open(vzdump.WithContext(ctx, r), limits, opts)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	s := &scan{opts: opts, in: in, image: &Image{ByPath: map[string]*Entry{}, Content: map[string][]byte{}}}
	if opts.Record {
		in.Record()
		s.image.recorded = &recorded{in: in}
	}
	if opts.Hash != nil {
		s.sums = sums.New(opts.Hash)
		defer s.sums.Close() // the digests are read after this function alone
	}
	for {
		e, err := s.next()
		if errors.Is(err, io.EOF) {
			s.image.Facts = in.Facts()
			s.image.complete()
			return s.image, nil
		}
		if err == nil {
			err = s.member(e)
		}
		if err != nil {
			return nil, err
		}
	}
}

func open(r io.Reader, limits vzdump.Limits, opts Options) (*vzdump.Reader, error) {
	if opts.Tail != nil {
		return vzdump.NewTailReader(r, limits, opts.Tail.Archive)
	}
	return vzdump.NewAheadReader(r, limits)
}

// New returns the image of members that do not come from an archive: entries in
// the order of one, and the content of files by path. It has no facts.
func New(entries []*Entry, content map[string][]byte) *Image {
	img := &Image{Entries: entries, ByPath: map[string]*Entry{}, Content: content}
	for _, e := range entries {
		if img.ByPath[e.Path] == nil {
			img.ByPath[e.Path] = e
		}
	}
	img.complete()
	return img
}

// complete fills in what follows from the members.
func (img *Image) complete() {
	img.config, img.findings = pctconf.Parse(img.Content[vzdump.ConfigPath])
	img.units = newUnits(img)
	img.packages = sync.OnceValues(img.parsePackages)
}

// scan is one pass over an archive.
type scan struct {
	opts  Options
	in    *vzdump.Reader
	image *Image
	sums  *sums.Summer // or nil
	kept  int64        // bytes
	holes int64        // bytes of sparse files so far
	head  []byte       // for all files: a buffer each would be most of the memory

	replayed int // members of Options.Tail so far
}

func (s *scan) member(m *vzdump.Entry) error {
	first := !m.Odd.Has(vzdump.Duplicate)
	if s.opts.Count != nil && first {
		if err := s.charge(s.opts.Count(m)); err != nil {
			return err
		}
	}
	keep := first && m.Type == vzdump.File && (IsOwn(m.Path) || s.opts.Keep != nil && s.opts.Keep(m.Path, m.Size))
	if s.opts.Index != nil && !keep && !s.opts.Index(m) {
		return nil
	}
	e, cost := newEntry(m, s.opts.Attributes)
	if err := s.charge(cost); err != nil {
		return err
	}
	s.image.Entries = append(s.image.Entries, e)
	if s.image.ByPath[e.Path] == nil {
		s.image.ByPath[e.Path] = e
	}
	if s.image.recorded != nil {
		s.image.recorded.costs = append(s.image.recorded.costs, 0)
	}
	if e.Type != vzdump.File {
		return nil
	}
	return s.content(e, keep)
}

// content reads what is needed of a file.
func (s *scan) content(e *Entry, keep bool) error {
	if keep && e.Size > MaxKept {
		s.image.Skipped = append(s.image.Skipped, e)
		keep = false
	}
	if !keep && s.sums == nil && s.opts.Visit == nil {
		return nil
	}
	if e.Odd.Has(vzdump.Sparse) {
		if s.holes += e.Size; s.holes > s.opts.MaxHoles {
			s.image.Skipped = append(s.image.Skipped, e)
			return nil
		}
	}
	if s.in.Elided() {
		return s.elided(e, keep)
	}
	head, err := s.readHead(e, keep)
	if err != nil {
		return err
	}
	var rest io.Reader = s.in
	if s.sums != nil {
		_, _ = s.sums.Write(head) // never fails
		rest = io.TeeReader(s.in, s.sums)
	}
	if s.opts.Visit != nil {
		cost, err := s.opts.Visit(e, head, rest)
		if err == nil {
			err = s.charge(cost)
		}
		if s.image.recorded != nil {
			s.image.recorded.costs[len(s.image.recorded.costs)-1] = cost
		}
		if err != nil {
			return err
		}
	}
	if s.sums == nil {
		_, err := io.Copy(io.Discard, s.in)
		return err
	}
	if _, err := s.sums.ReadFrom(s.in); err != nil {
		return err
	}
	s.sums.End(func(sum []byte) { e.Hashed = copy(e.Digest[:], sum) > 0 })
	return nil
}

// readHead reads the whole of a file that is kept, or the beginning of another one.
func (s *scan) readHead(e *Entry, keep bool) ([]byte, error) {
	var head []byte
	if keep {
		if err := s.charge(e.Size); err != nil {
			return nil, err
		}
		head = make([]byte, e.Size)
		s.image.Content[e.Path] = head
	} else {
		if s.head == nil {
			s.head = make([]byte, headBytes)
		}
		head = s.head[:min(headBytes, e.Size)]
	}
	if _, err := io.ReadFull(s.in, head); err != nil && e.Size > 0 {
		return nil, err
	}
	return head, nil
}

// charge counts what is kept.
func (s *scan) charge(n int64) error {
	if s.kept += n; s.kept <= s.opts.MaxBytes {
		return nil
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("%w: names, settings and package data take more than %d MiB", vzdump.ErrLimit, s.opts.MaxBytes>>20),
		"an image has some thousand members; this archive cannot be read in bounded memory")
}
