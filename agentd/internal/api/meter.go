package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
)

const (
	// meterSlots bounds the looks at file systems at the same time: on storage
	// that does not answer, such as a network share without its server, each
	// keeps a thread until it answers.
	meterSlots = 8

	// meterPatience is how long a request waits for a look.
	meterPatience = time.Second

	// meterAge is how long the outcome of a look may be used again if a later
	// look does not end.
	meterAge = 5 * time.Minute
)

// errNoFigures means that the storage did not answer in time.
var errNoFigures = errors.New("the storage does not answer")

// meter reads the figures of guests' file systems: one look at a time for each
// guest, and a few in all.
type meter struct {
	storage driver.Storage
	now     func() time.Time
	slots   chan struct{}

	mu     sync.Mutex
	guests map[int]*figures
}

type figures struct {
	look  *look // under way, or nil
	usage []driver.Usage
	none  error     // that the guest has no figures, or nil
	taken time.Time // of usage or none; zero: there is neither
}

type look struct {
	done  chan struct{}
	usage []driver.Usage // when done
	err   error
}

func newMeter(storage driver.Storage, now func() time.Time) *meter {
	return &meter{storage: storage, now: now, slots: make(chan struct{}, meterSlots), guests: map[int]*figures{}}
}

// hasNone reports whether err, of a look, is that the guest has no figures, as on a
// host that keeps its guests elsewhere, and not that they could not be read.
func hasNone(err error) bool {
	return errors.Is(err, driver.ErrNotFound) || errors.Is(err, driver.ErrNoFigures)
}

// usage returns current figures, or the outcome of the last look if this one takes
// too long.
func (m *meter) usage(ctx context.Context, vmid int) ([]driver.Usage, error) {
	under := m.start(ctx, vmid)
	if under == nil {
		return m.last(vmid)
	}
	patience := time.NewTimer(meterPatience)
	defer patience.Stop()
	select {
	case <-under.done:
		return under.usage, under.err
	case <-ctx.Done():
	case <-patience.C:
	}
	return m.last(vmid)
}

// start returns the look that is under way, or a new one; nil if there are
// too many.
func (m *meter) start(ctx context.Context, vmid int) *look {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.guests[vmid]
	if f == nil {
		f = &figures{}
		m.guests[vmid] = f
	}
	if f.look != nil {
		return f.look
	}
	select {
	case m.slots <- struct{}{}:
	default:
		return nil
	}
	under := &look{done: make(chan struct{})}
	f.look = under
	go m.run(context.WithoutCancel(ctx), vmid, f, under) // others may wait for it as well
	return under
}

func (m *meter) run(ctx context.Context, vmid int, f *figures, under *look) {
	defer func() {
		if cause := recover(); cause != nil {
			under.err = fmt.Errorf("panic: %v", cause)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		f.look = nil
		if under.err == nil || hasNone(under.err) {
			f.usage, f.none, f.taken = under.usage, under.err, m.now()
		}
		<-m.slots
		close(under.done)
	}()
	under.usage, under.err = m.storage.Storage(ctx, vmid)
}

func (m *meter) last(vmid int) ([]driver.Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.guests[vmid]
	if f.taken.IsZero() || m.now().Sub(f.taken) > meterAge {
		return nil, errNoFigures
	}
	return f.usage, f.none
}
