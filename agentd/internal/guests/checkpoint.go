package guests

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// startCheckpoint opens a new log and has the content of the previous one
// written to the guests' files. While a checkpoint runs it does nothing.
func (w *reportWriter) startCheckpoint() {
	if w.saving != nil || w.log == nil || w.log.size == 0 {
		return
	}
	next, err := openLog(w.store.dirs.logs(), w.number+1)
	if err != nil {
		w.trouble.Store(&err)
		return
	}
	full, saving, saved := w.log, make(chan error, 1), make(map[int]guestReports, len(w.guests))
	for vmid, g := range w.guests {
		saved[vmid] = g // never changed in place: the writer works on copies
	}
	w.log, w.due, w.saving, w.saved = next, nil, saving, saved
	go func() { saving <- errors.Join(full.file.Close(), w.save(saved, full.name)) }()
}

// save tries a checkpoint until it succeeds or the store is closed.
func (w *reportWriter) save(saved map[int]guestReports, upTo string) error {
	for {
		err := w.store.checkpointUpTo(saved, upTo)
		if err == nil {
			w.trouble.Store(nil)
			return nil
		}
		w.trouble.Store(&err)
		select {
		case <-w.stop:
			return err
		case <-time.After(checkpointPause):
		}
	}
}

// endCheckpoint removes from memory what is in the files now.
func (w *reportWriter) endCheckpoint(err error) {
	if err == nil {
		for vmid, g := range w.saved {
			if w.guests[vmid].Logged == g.Logged {
				delete(w.guests, vmid)
			}
		}
	}
	w.saving, w.saved = nil, nil
	if w.due == nil && w.log.size > 0 {
		w.due = time.After(checkpointAge)
	}
}

// checkpoint writes reports to the guests' files and removes all logs.
func (s *Store) checkpoint(all map[int]guestReports) error {
	return s.checkpointUpTo(all, logName(^uint64(0)))
}

// checkpointUpTo writes reports to the guests' files and then removes the logs
// up to the named one. A crash in between leaves files with and without the
// lines of the logs: each file has the number of the last line that is in it.
func (s *Store) checkpointUpTo(all map[int]guestReports, last string) error {
	for _, vmid := range slices.Sorted(maps.Keys(all)) {
		g := all[vmid]
		if r, err := s.Get(vmid); (err == nil || errors.Is(err, ErrNotFound)) && !r.owns(g.Record, g.Received) {
			continue // the guest was removed
		}
		data, err := json.MarshalIndent(g, "", "  ")
		if err != nil {
			return fmt.Errorf("encode reports of guest %d: %w", vmid, err)
		}
		if err := atomicfile.WriteInBatch(s.dirs.files(), fileName(vmid), append(data, '\n'), atomicfile.Attr{Mode: 0o600}); err != nil {
			return fmt.Errorf("reports of guest %d: %w", vmid, err)
		}
	}
	if err := atomicfile.SyncDirectory(s.dirs.files(), ""); err != nil {
		return fmt.Errorf("reports: %w", err)
	}
	names, err := logNames(s.dirs.logs())
	if err != nil {
		return err
	}
	for _, name := range names {
		if name > last {
			break
		}
		if err := s.dirs.logs().Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("log of reports: %w", err)
		}
	}
	return nil
}

// Recover brings the files of reports up to date after a crash, from the logs
// that an earlier daemon left. Reports of a guest that was removed since are
// dropped. Only the daemon may call it, before its first report.
func (s *Store) Recover() error {
	names, err := logNames(s.dirs.logs())
	if err != nil {
		return err
	}
	all := map[int]guestReports{}
	for _, name := range names { // in the order of their lines
		lines, _, err := readLog(s.dirs.logs(), name, 0)
		if err != nil {
			return err
		}
		for _, line := range lines {
			r, err := s.Get(line.VMID)
			isKnown := err == nil || errors.Is(err, ErrNotFound)
			if isKnown && !r.owns(line.Record, line.Received) {
				continue
			}
			g, ok := all[line.VMID]
			if !ok {
				if g, _ = s.readReports(line.VMID); isKnown && !r.owns(g.Record, g.Received) {
					g = emptyReports(line.VMID)
				}
			}
			g.apply(line)
			all[line.VMID] = g
		}
	}
	return s.checkpoint(all)
}

// lastNumber returns the highest number in the guests' files: new lines must
// have higher ones.
func (s *Store) lastNumber() (uint64, error) {
	entries, err := fs.ReadDir(s.dirs.files().FS(), ".")
	if err != nil {
		return 0, fmt.Errorf("reports: %w", err)
	}
	last := uint64(0)
	for _, entry := range entries {
		if vmid, ok := vmidOf(entry.Name()); ok {
			g, _ := s.readReports(vmid) // a damaged file is written again as a whole
			last = max(last, g.Logged)
		}
	}
	return last, nil
}
