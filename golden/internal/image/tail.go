package image

import (
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Tail is what a pass over an archive found in its last members, for an archive that
// has the same frames behind another beginning. It holds for a pass with the same
// Options and the same Hash only.
type Tail struct {
	Archive vzdump.Tail
	Found   []Found // one for each member
}

// Found is what was found in the content of a member.
type Found struct {
	Digest  []byte // nil if none was taken
	Content []byte // of a file that is kept
	Cost    int64  // bytes that Visit keeps
}

// ErrTail means that a Tail does not have what an archive needs: it must be read as
// a whole.
var ErrTail = errors.New("what an earlier pass found is not enough for this archive")

// Tail returns what was found behind the byte seam of the archive, and the number of
// members before it. It reports false unless Options.Record was set and a member
// begins there.
func (img *Image) Tail(seam int64) (t Tail, before int, ok bool) {
	if img.recorded == nil {
		return Tail{}, 0, false
	}
	t.Archive, before, ok = img.recorded.in.Tail(seam)
	if !ok || len(img.recorded.costs) != len(img.Entries) {
		return Tail{}, 0, false
	}
	for i, e := range img.Entries[before:] {
		f := Found{Cost: img.recorded.costs[before+i]}
		if e.Hashed {
			f.Digest = e.Digest[:]
		}
		if img.ByPath[e.Path] == e {
			f.Content = img.Content[e.Path]
		}
		t.Found = append(t.Found, f)
	}
	return t, before, true
}

// recorded is what Image.Tail needs of a pass.
type recorded struct {
	in    *vzdump.Reader // closed
	costs []int64        // one for each member: what Visit keeps
}

// elided fills in what an earlier pass found in the content of e.
func (s *scan) elided(e *Entry, keep bool) error {
	f := &s.opts.Tail.Found[s.replayed-1]
	if s.sums != nil && len(f.Digest) == 0 || keep && int64(len(f.Content)) != e.Size || len(f.Digest) > len(e.Digest) {
		return fmt.Errorf("%w: /%s", ErrTail, e.Path)
	}
	cost := f.Cost
	if keep {
		cost += e.Size
		s.image.Content[e.Path] = f.Content
	}
	if s.sums != nil {
		e.Hashed = copy(e.Digest[:], f.Digest) > 0
	}
	return s.charge(cost)
}

// next goes to the next member, and counts those of the Tail.
func (s *scan) next() (*vzdump.Entry, error) {
	m, err := s.in.Next()
	if err != nil || !s.in.Elided() {
		return m, err
	}
	if s.replayed++; s.replayed > len(s.opts.Tail.Found) {
		return nil, fmt.Errorf("%w: it has %d members", ErrTail, len(s.opts.Tail.Found))
	}
	return m, nil
}
