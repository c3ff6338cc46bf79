package guests

import (
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// SetCheckpointSize makes checkpoints follow logs of that size. Call it before
// the first report.
func (s *Store) SetCheckpointSize(size int64) { s.writer.maxSize = size }

// HoldLook stands for a disk that does not answer a reading of the records until
// release is called.
func (s *Store) HoldLook() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := &look{isOfAll: true, began: s.now(), done: make(chan struct{})}
	s.index.look = held
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.index.end(held, nil, s.now())
	}
}

// Add adds a report as the store does.
func (p *Progress) Add(r contract.Report, now time.Time) bool { return p.add(r, now) }
