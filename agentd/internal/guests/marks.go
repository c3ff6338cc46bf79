package guests

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/token"
)

const (
	// maxMarks bounds the first uses that wait for their write.
	maxMarks = 1024

	// lockPatience is how long the writer waits for the store's lock before it
	// answers all waiting requests that the store is busy.
	lockPatience = 2 * time.Second

	// markWriters is how many writers work at the same time, so that the kernel
	// commits several changes at once.
	markWriters = 4
)

// marks is the one writer of first uses. When it gets the lock, it writes all
// that wait.
type marks struct {
	store  *Store
	queue  chan mark
	start  sync.Once
	cancel context.CancelFunc
	ended  chan struct{}
}

type mark struct {
	tok  token.Token
	done chan<- error // has room for the answer
}

func (m *marks) init(s *Store) {
	m.store, m.queue, m.ended = s, make(chan mark, maxMarks), make(chan struct{})
}

// MarkUsed records the first use of tok and ends the overlap with the previous
// token. It is safe to repeat, and does nothing if the record has a newer token
// since. [ErrBusy] means that nothing was noted and a later try may succeed.
func (s *Store) MarkUsed(ctx context.Context, tok token.Token) error {
	s.marks.start.Do(s.marks.run)
	done := make(chan error, 1)
	select {
	case s.marks.queue <- mark{tok, done}:
	default:
		return fmt.Errorf("%w: %d first uses of tokens wait", ErrBusy, maxMarks)
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	case <-limit.C:
		return fmt.Errorf("%w: the first use of the token was not on disk after %v", ErrBusy, patience)
	case <-s.marks.ended:
		return fmt.Errorf("%w: the store is closed", ErrBusy)
	}
}

func (m *marks) run() {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.ended)
		for {
			select {
			case <-ctx.Done():
				return
			case first := <-m.queue:
				m.write(ctx, append([]mark{first}, drain(m.queue)...))
			}
		}
	}()
}

// close must not run beside MarkUsed.
func (m *marks) close() {
	m.start.Do(func() { close(m.ended) })
	if m.cancel != nil {
		m.cancel()
	}
	<-m.ended
}

func drain[T any](queue <-chan T) (all []T) {
	for {
		select {
		case one := <-queue:
			all = append(all, one)
		default:
			return all
		}
	}
}

func (m *marks) write(ctx context.Context, batch []mark) {
	wait, cancel := context.WithTimeout(ctx, lockPatience)
	unlock, err := m.store.lockBoth(wait)
	cancel()
	if err != nil {
		if wait.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrBusy, err)
		}
		for _, one := range batch {
			one.done <- err
		}
		return
	}
	// The same token may wait many times: one write answers all of them.
	byToken := map[token.Digest][]mark{}
	for _, one := range batch {
		byToken[one.tok.Digest()] = append(byToken[one.tok.Digest()], one)
	}
	// By guest, one after the other: two tokens of one guest must not lose one
	// another's change.
	byGuest := map[int][][]mark{}
	for _, same := range byToken {
		byGuest[same[0].tok.VMID()] = append(byGuest[same[0].tok.VMID()], same)
	}
	work := make(chan [][]mark)
	var writers sync.WaitGroup
	for range min(markWriters, len(byGuest)) {
		writers.Go(func() {
			for guest := range work {
				m.writeGuest(guest)
			}
		})
	}
	for _, guest := range byGuest {
		work <- guest
	}
	close(work)
	writers.Wait()
	_ = unlock() // closing a descriptor that was only locked
}

func (m *marks) writeGuest(tokens [][]mark) {
	for _, same := range tokens {
		tok := same[0].tok
		err := m.store.change(tok.VMID(), func(r *Record) error { return r.markUsed(tok, m.store.now()) })
		if errors.Is(err, errUnchanged) {
			err = nil
		}
		for _, one := range same {
			one.done <- err
		}
	}
}
