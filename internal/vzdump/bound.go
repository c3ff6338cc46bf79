package vzdump

import "io"

// mostReads bounds the time of [MostUnpacked], which nothing interrupts: the blocks
// of 128 GiB by any usual encoder, and a second at most.
const mostReads = 1 << 20

// MostUnpacked returns how long the tar stream of an archive of size bytes can be
// by its zstd frames, and whether all of them say so. It reads their headers and
// not what they hold; the decoder refuses a frame that holds more than it says.
// It gives up on an archive of very many headers.
func MostUnpacked(r io.ReaderAt, size int64) (int64, bool) {
	var facts Facts
	w := newFrameWalker(nil, Limits{}.withDefaults(), &facts)
	for reads := 0; w.offset < size; {
		if w.skip > 0 {
			w.offset, w.skip = w.offset+w.skip, 0
			continue
		}
		if reads++; reads > mostReads {
			return 0, false
		}
		part := make([]byte, w.need-w.have)
		if _, err := r.ReadAt(part, w.offset); err != nil || w.walk(part) != nil {
			return 0, false // not zstd, or what NewReader refuses
		}
	}
	if w.offset != size || !w.atBoundary() || facts.FrameCount > len(facts.Frames) {
		return 0, false
	}
	sum := int64(0)
	for _, f := range facts.Frames {
		if f.Skippable {
			continue
		}
		if f.ContentSize < 0 || f.ContentSize > 1<<40 {
			return 0, false
		}
		sum += f.ContentSize
	}
	return sum, true
}
