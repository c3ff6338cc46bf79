package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

const (
	journalName     = "rollout.json"
	lockName        = "rollout.lock"
	journalVersion  = 1
	maxJournalBytes = 16 << 20 // a guest has 1 KiB or less, and its failure's text

	// A process that only looks whether the lock is held holds it itself for some
	// microseconds.
	lookPatience = 100 * time.Millisecond
)

// journal is all that a later run has to know of a rollout.
type journal struct {
	Version int     `json:"version"`
	Plan    Plan    `json:"plan"`
	Guests  []Guest `json:"guests"`
}

// locked runs work with the journal of a rollout that has not ended, nil if there
// is none. Two rollouts at a time would change each other's guests.
func (r *Rollout) locked(ctx context.Context, work func(*journal) (Status, error)) (s Status, err error) {
	if err := atomicfile.MakeDirectory(r.options.StateDir, 0o700); err != nil {
		return s, err
	}
	unlock, err := filelock.ClaimAtMost(ctx, filepath.Join(r.options.StateDir, lockName), lookPatience)
	if errors.Is(err, filelock.ErrHeld) {
		return s, fault.WrapHint(fault.Busy, fmt.Errorf("rollout: %w", err), "another rollout is at work; wait for it, or end that process")
	}
	if err != nil {
		return s, fmt.Errorf("rollout: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	j, err := r.read()
	if err != nil {
		return s, err
	}
	return work(j)
}

// isHeld reports whether a process works on the rollout.
func (r *Rollout) isHeld() bool {
	f, err := regular.Open(filepath.Join(r.options.StateDir, lockName))
	if err != nil {
		return false
	}
	defer func() { _ = filelock.Close(f) }()
	return errors.Is(filelock.Try(f, filelock.Shared), filelock.ErrHeld)
}

func (r *Rollout) read() (*journal, error) {
	file := filepath.Join(r.options.StateDir, journalName)
	data, err := regular.Read(file, maxJournalBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := &journal{}
	err = json.Unmarshal(data, j)
	if err == nil && (j.Version != journalVersion || j.Plan.Image == "" || len(j.Guests) == 0) {
		err = errors.New("wrong version, or no image or guests")
	}
	if err != nil {
		return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("%s is not a journal of a rollout: %w", file, err),
			"look at guest list, then remove that file")
	}
	return j, nil
}

func (r *Rollout) write(j *journal) error {
	j.Version = journalVersion
	data, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.In(r.options.StateDir, func(root *os.Root) error {
		return atomicfile.Write(root, journalName, append(data, '\n'), atomicfile.Attr{Mode: 0o600})
	})
}

func (r *Rollout) remove() error {
	return atomicfile.In(r.options.StateDir, func(root *os.Root) error {
		if err := atomicfile.Remove(root, journalName); err != nil {
			return err
		}
		return atomicfile.Sweep(root, journalName) // of writes that were killed
	})
}
