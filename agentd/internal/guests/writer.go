package guests

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

const (
	// maxReports limits the reports that wait for the writer.
	maxReports = 2048

	// A checkpoint follows when the log exceeds checkpointBytes or its first line
	// is checkpointAge old. A log of maxLogBytes takes no more.
	checkpointBytes = 8 << 20
	checkpointAge   = 30 * time.Second
	maxLogBytes     = 64 << 20

	checkpointPause = time.Second // after a checkpoint that failed

	// patience is how long a guest's request waits for a disk before it is
	// answered that the store is busy.
	patience = 5 * time.Second
)

// reportWriter is the one writer of reports. All that wait when it is ready are
// one batch: their lines are appended to a log, the log is synced once, and all
// are acknowledged. What the guests' files do not have yet is kept in memory; a
// checkpoint writes the files and removes the log. [Store.Recover] does the
// same after a crash.
type reportWriter struct {
	store *Store
	queue chan incoming
	start sync.Once
	stop  chan struct{}
	ended chan struct{}

	log       *reportLog // nil: none is open
	isLogGone bool       // it was removed with its directory, and no other has its lines yet
	number    uint64     // of the last line
	guests    map[int]guestReports
	due       <-chan time.Time // the log's age; nil: the log is empty
	saving    chan error       // the checkpoint that runs; nil: none
	saved     map[int]guestReports
	trouble   atomic.Pointer[error] // of the last checkpoint that failed; nil: none, or one succeeded since
	maxSize   int64                 // of a log before a checkpoint
}

type incoming struct {
	vmid   int
	report contract.Report
	done   chan<- taken // has room for the answer
}

type taken struct {
	isNews bool
	err    error
}

func (w *reportWriter) init(s *Store) {
	w.store, w.queue, w.stop, w.ended = s, make(chan incoming, maxReports), make(chan struct{}), make(chan struct{})
	w.guests, w.maxSize = map[int]guestReports{}, checkpointBytes
}

// AddReport keeps r if it is new: of each step of the last run it keeps the
// report with the highest sequence number. It returns once r is on disk, and is
// safe to repeat; false means that this report, or a later one, is kept
// already. [ErrBusy] means that r is possibly not kept and that a later try may
// succeed.
func (s *Store) AddReport(ctx context.Context, vmid int, r contract.Report) (bool, error) {
	s.writer.start.Do(func() { go s.writer.run() })
	done := make(chan taken, 1)
	select {
	case s.writer.queue <- incoming{vmid, r, done}:
	default:
		return false, fmt.Errorf("%w: %d reports wait", ErrBusy, maxReports)
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case t := <-done:
		return t.isNews, t.err
	case <-ctx.Done():
		return false, fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	case <-limit.C:
		return false, fmt.Errorf("%w: the report was not on disk after %v", ErrBusy, patience)
	case <-s.writer.ended:
		return false, fmt.Errorf("%w: the store is closed", ErrBusy)
	}
}

func (w *reportWriter) run() {
	defer close(w.ended)
	for {
		select {
		case <-w.stop:
			return
		case first := <-w.queue:
			w.write(append([]incoming{first}, drain(w.queue)...))
		case err := <-w.saving:
			w.endCheckpoint(err)
		case <-w.due:
			w.due = nil
			if err := w.heal(); err != nil {
				w.trouble.Store(&err)
				w.due = time.After(checkpointPause)
				continue
			}
			w.startCheckpoint()
		}
	}
}

// close must not run beside AddReport. The log of a checkpoint that fails stays
// for the next start.
func (w *reportWriter) close() error {
	w.start.Do(func() { close(w.ended) })
	close(w.stop)
	<-w.ended
	if w.log == nil {
		return nil
	}
	if w.saving != nil {
		w.endCheckpoint(<-w.saving)
	}
	healed, err := w.heal(), w.store.checkpoint(w.guests)
	if err != nil { // else the files have all that the log has
		err = errors.Join(healed, err)
	}
	return errors.Join(err, w.log.file.Close())
}

// write takes a batch: all of it or, if the log cannot be written, nothing.
func (w *reportWriter) write(batch []incoming) {
	err := w.ready()
	now := w.store.now().UTC().Truncate(time.Second)
	records := w.store.recordsOf(batch)
	changed := map[int]guestReports{}
	answers := make([]taken, len(batch))
	var lines bytes.Buffer
	for i, one := range batch {
		g, ok := changed[one.vmid]
		if !ok {
			g = w.reportsOf(one.vmid, records)
		}
		w.number++
		line := logged{w.number, one.vmid, g.Record, now, one.report}
		text, encodeErr := json.Marshal(line)
		if encodeErr != nil { // ParseReport accepts nothing that cannot be encoded
			answers[i].err = fmt.Errorf("encode report of guest %d: %w", one.vmid, encodeErr)
			continue
		}
		if answers[i].isNews = g.apply(line); answers[i].isNews {
			changed[one.vmid] = g
			lines.Write(append(text, '\n'))
		}
	}
	if err == nil && lines.Len() > 0 {
		err = w.log.append(lines.Bytes())
		if cause := w.trouble.Load(); errors.Is(err, ErrBusy) && cause != nil {
			err = fmt.Errorf("log of reports is full: %w", *cause)
		}
	}
	if err == nil {
		for vmid, g := range changed {
			w.guests[vmid] = g
		}
		if w.due == nil && lines.Len() > 0 {
			w.due = time.After(checkpointAge)
		}
	}
	for i, one := range batch {
		one.done <- taken{answers[i].isNews && err == nil, cmp.Or(err, answers[i].err)}
	}
}

// reportsOf returns a copy of what is known of the guest that has the record now.
// A damaged file has only past reports, and must not prevent new ones.
func (w *reportWriter) reportsOf(vmid int, records map[int]Record) guestReports {
	g, ok := w.guests[vmid]
	if !ok {
		g, _ = w.store.readReports(vmid)
	}
	if r, ok := records[vmid]; ok {
		if !r.owns(g.Record, g.Received) {
			g = emptyReports(vmid)
		}
		g.Record = r.identity()
	}
	return g.clone()
}

// ready opens the log, again if it was removed, and starts a checkpoint when the
// log is long.
func (w *reportWriter) ready() error {
	if err := w.heal(); err != nil {
		return err
	}
	if w.log == nil {
		if err := w.store.Recover(); err != nil {
			return err
		}
		last, err := w.store.lastNumber()
		if err != nil {
			return err
		}
		w.number = max(w.number, last)
		w.log, err = openLog(w.store.dirs.logs(), w.number+1)
		return err
	}
	if w.log.size <= w.maxSize {
		return nil
	}
	w.startCheckpoint()
	return nil
}
