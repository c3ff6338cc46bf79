package guests

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/regular"
)

const (
	// maxReports bounds the reports that wait for the writer.
	maxReports = 2048

	// A log that exceeds checkpointBytes is put away once the files that it
	// stands for are on disk; one of maxLogBytes takes no more until then.
	checkpointBytes = 4 << 20
	maxLogBytes     = 64 << 20

	checkpointPause = time.Second // after one that failed
)

// logNames are the two logs: one is written while the other is put away.
var logNames = [2]string{"log.0", "log.1"}

// reportWriter is the one writer of reports. All that wait when it is ready are
// one batch: their lines are appended to a log, the log is synced once, each
// guest's file is replaced without a sync, and all are acknowledged. After a loss
// of power the log makes the files right ([Store.Recover]).
type reportWriter struct {
	store *Store
	queue chan incoming
	start sync.Once
	stop  chan struct{}
	ended chan struct{}

	log    *os.File // of logNames[active]; nil: not open, or broken
	active int
	size   int64
	number uint64
	dirty  map[string]bool // files that were replaced since the log began
	saving chan error      // of the other log's checkpoint; nil: none runs
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

// logged is one line of a log.
type logged struct {
	Number   uint64          `json:"number"` // rises over all lines of both logs
	VMID     int             `json:"vmid"`
	Received time.Time       `json:"received"`
	Report   contract.Report `json:"report"`
	// Before is, in the first line of a guest, what its file held then: the file
	// is replaced without a sync, so that a loss of power can take that as well.
	Before json.RawMessage `json:"before,omitempty"`
}

func (w *reportWriter) init(s *Store) {
	w.store, w.queue, w.stop, w.ended = s, make(chan incoming, maxReports), make(chan struct{}), make(chan struct{})
	w.dirty = map[string]bool{}
}

// AddReport keeps r when it is news: of each step of the last run the report
// with the highest sequence number. It returns once r is on disk, and is safe to
// repeat; false means that this report, or a later one, was there already.
// [ErrBusy] means that r may not be kept and a later try may succeed.
func (s *Store) AddReport(ctx context.Context, vmid int, r contract.Report) (bool, error) {
	s.writer.start.Do(func() { go s.writer.run() })
	done := make(chan taken, 1)
	select {
	case s.writer.queue <- incoming{vmid, r, done}:
	default:
		return false, fmt.Errorf("%w: %d reports wait", ErrBusy, maxReports)
	}
	select {
	case t := <-done:
		return t.isNews, t.err
	case <-ctx.Done():
		return false, fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	case <-s.writer.ended:
		return false, fmt.Errorf("%w: it was closed", ErrBusy)
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
		}
	}
}

// close must not run beside AddReport.
func (w *reportWriter) close() error {
	w.start.Do(func() { close(w.ended) })
	close(w.stop)
	<-w.ended
	var err error
	if w.saving != nil {
		err = <-w.saving // its log stays where it failed, for the next start
	}
	if w.log == nil {
		return err
	}
	return errors.Join(err, w.checkpoint(w.log, w.dirty), w.log.Close())
}

func (w *reportWriter) write(batch []incoming) {
	now := w.store.now().UTC().Truncate(time.Second)
	guests := map[int]*Progress{}
	isNews := make([]bool, len(batch))
	before := map[int]json.RawMessage{}
	var lines bytes.Buffer
	err := w.rotate() // first: a new log begins with what the files hold
	for i, one := range batch {
		p := guests[one.vmid]
		if p == nil {
			p = w.load(one.vmid)
			guests[one.vmid] = p
			if p.Run != "" && !w.dirty[fileName(one.vmid)] {
				before[one.vmid], _ = json.Marshal(p) // it was read from JSON
			}
		}
		if isNews[i] = p.add(one.report, now); isNews[i] {
			p.Received = now
			w.number++
			line, err := json.Marshal(logged{w.number, one.vmid, now, one.report, before[one.vmid]})
			delete(before, one.vmid)
			if err != nil { // ParseReport accepts nothing that cannot be written
				isNews[i] = false
				one.done <- taken{err: fmt.Errorf("encode report of guest %d: %w", one.vmid, err)}
				continue
			}
			lines.Write(append(line, '\n'))
		}
	}
	if err == nil {
		err = w.append(lines.Bytes())
	}
	failed := map[int]error{}
	if err == nil && lines.Len() > 0 {
		for vmid, p := range guests {
			failed[vmid] = w.replace(vmid, p)
		}
	}
	for i, one := range batch {
		answer := taken{isNews[i] && err == nil, cmp.Or(err, failed[one.vmid])}
		select {
		case one.done <- answer:
		default: // answered above
		}
	}
}

// load returns what is known of the guest. A damaged file holds news of the past
// only; it must not keep the present out.
func (w *reportWriter) load(vmid int) *Progress {
	p, err := w.store.Progress(vmid)
	if err != nil {
		p = Progress{}
	}
	p.Version, p.VMID = recordVersion, vmid
	return &p
}

// loadOr is load, and before where the file was damaged or lost.
func (w *reportWriter) loadOr(vmid int, before json.RawMessage) *Progress {
	p := w.load(vmid)
	var old Progress
	if p.Run == "" && json.Unmarshal(before, &old) == nil && old.VMID == vmid {
		return &old
	}
	return p
}

// append puts lines on disk. After a failed write or sync nothing is known of
// the log's end, so that it is cut.
func (w *reportWriter) append(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	if w.size+int64(len(lines)) > maxLogBytes {
		return fmt.Errorf("%w: the log of reports has %d bytes", ErrBusy, w.size)
	}
	if _, err := w.log.Write(lines); err != nil {
		return errors.Join(fmt.Errorf("log of reports: %w", err), w.cut())
	}
	if err := w.log.Sync(); err != nil {
		return errors.Join(fmt.Errorf("log of reports: %w", err), w.cut())
	}
	w.size += int64(len(lines))
	return nil
}

// cut takes the end that was not acknowledged off the log again.
func (w *reportWriter) cut() error {
	_, err := w.log.Seek(w.size, 0)
	return errors.Join(err, w.log.Truncate(w.size))
}

// rotate opens the log, and puts a long one away while the other is written.
func (w *reportWriter) rotate() error {
	if w.log == nil {
		if err := w.store.Recover(); err != nil {
			return err
		}
		return w.open(0)
	}
	if w.saving != nil {
		select {
		case err := <-w.saving:
			w.saving = nil
			if err != nil {
				return fmt.Errorf("log of reports: %w", err)
			}
		default:
		}
	}
	if w.size <= checkpointBytes || w.saving != nil {
		return nil
	}
	full, dirty, saving := w.log, w.dirty, make(chan error, 1)
	if err := w.open(1 - w.active); err != nil {
		return err
	}
	w.dirty, w.saving = map[string]bool{}, saving
	go func() { saving <- errors.Join(w.putAway(full, dirty), full.Close()) }()
	return nil
}

// putAway tries a checkpoint until it succeeds or the store is closed: before
// it has, the log must not be written again.
func (w *reportWriter) putAway(log *os.File, dirty map[string]bool) error {
	for {
		err := w.checkpoint(log, dirty)
		if err == nil {
			return nil
		}
		select {
		case <-w.stop:
			return err
		case <-time.After(checkpointPause):
		}
	}
}

func (w *reportWriter) open(active int) error {
	f, err := regular.OpenIn(w.store.reports, logNames[active], os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("log of reports: %w", err)
	}
	if err := syncDirectory(w.store.reports); err != nil {
		return errors.Join(err, f.Close())
	}
	w.log, w.active, w.size = f, active, 0
	return nil
}

// checkpoint puts the files that a log stands for on disk, and empties the log.
func (w *reportWriter) checkpoint(log *os.File, dirty map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(dirty)) {
		if err := syncFile(w.store.reports, name); err != nil {
			return err
		}
	}
	return errors.Join(syncDirectory(w.store.reports), log.Truncate(0), log.Sync())
}

func (w *reportWriter) replace(vmid int, p *Progress) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encode reports of guest %d: %w", vmid, err)
	}
	name := fileName(vmid)
	w.dirty[name] = true
	if err := atomicfile.WriteUnsynced(w.store.reports, name, append(data, '\n'), atomicfile.Attr{Mode: 0o600}); err != nil {
		return fmt.Errorf("reports of guest %d: %w", vmid, err)
	}
	return nil
}

// Recover makes the files of reports right after a loss of power, from the logs
// that an earlier daemon left. Reports of a guest that is not known, or became
// known after them, are dropped. Only the daemon may call it, before its first
// report.
func (s *Store) Recover() error {
	var all []logged
	for _, name := range logNames {
		data, err := readBounded(s.reports, name, 2*maxLogBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("log of reports: %w", err)
		}
		for line := range bytes.Lines(data) {
			var one logged
			if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &one) != nil {
				break // the power went while it was written: it was not acknowledged
			}
			all = append(all, one)
		}
	}
	slices.SortStableFunc(all, func(a, b logged) int { return cmp.Compare(a.Number, b.Number) })
	w := &reportWriter{store: s}
	guests := map[int]*Progress{}
	for _, one := range all {
		r, err := s.Get(one.VMID)
		if err != nil && !errors.Is(err, ErrNotFound) {
			continue // its record cannot be read now: what is there stays
		}
		if err != nil || one.Received.Before(r.Added) {
			continue
		}
		if guests[one.VMID] == nil {
			guests[one.VMID] = w.loadOr(one.VMID, one.Before)
		}
		if p := guests[one.VMID]; p.add(one.Report, one.Received) {
			p.Received = one.Received
		}
	}
	for vmid, p := range guests {
		data, err := json.MarshalIndent(p, "", "  ")
		if err == nil && len(p.Steps) > 0 {
			err = atomicfile.Write(s.reports, fileName(vmid), append(data, '\n'), atomicfile.Attr{Mode: 0o600})
		}
		if err != nil {
			return fmt.Errorf("reports of guest %d: %w", vmid, err)
		}
	}
	for _, name := range logNames {
		if err := s.reports.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("log of reports: %w", err)
		}
	}
	return nil
}

func syncFile(root *os.Root, name string) error {
	f, err := regular.OpenIn(root, name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the guest was removed
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncDirectory(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
