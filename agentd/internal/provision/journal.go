package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

const (
	journalVersion  = 1
	maxJournalBytes = 256 << 10 // real ones have a few KiB
)

// journal is what a later run must know about an unfinished one. It is written
// before the changes that it names.
type journal struct {
	Version   int       `json:"version"`
	VMID      int       `json:"vmid"`
	ID        string    `json:"id"` // is in the guest's description
	Started   time.Time `json:"begun"`
	NewRecord bool      `json:"new_record"` // there was no record of the guest
	NewMount  bool      `json:"new_mount"`  // there was no directory
	Golden    string    `json:"golden"`
	Restoring bool      `json:"restoring"`         // the restore may have started
	Storage   string    `json:"storage,omitempty"` // of its disks; it had none of that VMID when the restore began
	Removing  bool      `json:"removing,omitempty"`
	Cloning   bool      `json:"cloning,omitempty"`  // the guest is being cloned: a complete one lacks settings
	Template  int       `json:"template,omitempty"` // VMID of that which it is a linked clone of

	Before  *guests.Record `json:"before,omitempty"`  // the record before the run
	After   string         `json:"after,omitempty"`   // the last run that a guest of that VMID had reported
	Mounted bool           `json:"mounted,omitempty"` // bootstrap.json may be replaced
}

// journals is the directory of the journals and of the locks of single guests.
type journals struct{ dir string }

func journalsIn(stateDir string) journals { return journals{filepath.Join(stateDir, "provision")} }

func journalName(vmid int) string { return strconv.Itoa(vmid) + ".json" }

func (js journals) with(work func(*os.Root) error) error {
	if err := atomicfile.MakeDirectory(js.dir, 0o700); err != nil {
		return err
	}
	return atomicfile.In(js.dir, work)
}

func (js journals) write(j *journal) error {
	j.Version = journalVersion
	return js.writeFile(journalName(j.VMID), j)
}

// writeFile replaces a file by the JSON of content.
func (js journals) writeFile(name string, content any) error {
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return js.with(func(root *os.Root) error {
		return atomicfile.Write(root, name, append(data, '\n'), atomicfile.Attr{Mode: 0o600})
	})
}

// readFile returns the content of a file, and whether it exists.
func (js journals) readFile(name string) (data []byte, exists bool, err error) {
	if _, err := os.Lstat(js.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil // reading makes no directory
	}
	err = js.with(func(root *os.Root) error {
		data, err = regular.ReadIn(root, name, maxJournalBytes)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		exists = err == nil
		return err
	})
	return data, exists, err
}

// read returns nil if no run is unfinished.
func (js journals) read(vmid int) (j *journal, err error) {
	data, exists, err := js.readFile(journalName(vmid))
	if err != nil || !exists {
		return nil, err
	}
	j = &journal{}
	if err := json.Unmarshal(data, j); err != nil || j.Version != journalVersion || j.VMID != vmid || j.ID == "" {
		return j, fault.WrapHint(fault.Invalid, fmt.Errorf("%s is not a journal of guest %d: %w", filepath.Join(js.dir, journalName(vmid)), vmid, errOr(err, "wrong version or guest")),
			"it says what an interrupted provisioning had started; look at guest, record and mount yourself, then remove it")
	}
	return j, nil
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

func (js journals) remove(vmid int) error {
	return js.with(func(root *os.Root) error { return atomicfile.Remove(root, journalName(vmid)) })
}

// Unfinished returns the guests whose provisioning or removal was interrupted.
func Unfinished(stateDir string) (map[int]bool, error) {
	entries, err := os.ReadDir(journalsIn(stateDir).dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	found := map[int]bool{}
	for _, e := range entries {
		name := e.Name()
		if vmid, err := strconv.Atoi(name[:len(name)-len(filepath.Ext(name))]); err == nil && filepath.Ext(name) == ".json" {
			found[vmid] = true
		}
	}
	return found, nil
}

const (
	// claimPatience is how long a command waits for a guest whose lock another process holds.
	// The daemon has each for a moment when it brings the mounts up to date.
	claimPatience = 5 * time.Second
	// atOnce is the patience of the daemon, which tries again later.
	atOnce = 0
)

// Claim excludes other runs on guest vmid until unlock. It waits some seconds for
// another one to end. It is for commands that change its record and mount without a
// Job. It refuses a guest whose provisioning or removal was interrupted, because
// undoing that would undo the command's change, too.
func Claim(ctx context.Context, stateDir string, vmid int) (unlock func() error, err error) {
	return journalsIn(stateDir).claimFinished(ctx, vmid, claimPatience)
}

// claimFinished is claim of a guest that no interrupted run left.
func (js journals) claimFinished(ctx context.Context, vmid int, patience time.Duration) (unlock func() error, err error) {
	if unlock, err = js.claim(ctx, vmid, patience); err != nil {
		return nil, err
	}
	j, err := js.read(vmid)
	switch {
	case err == nil && j != nil && j.Removing:
		err = fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: its removal was interrupted", vmid), fmt.Sprintf("felhom-agentd guest remove --force %d finishes it", vmid))
	case err == nil && j != nil:
		err = fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: its provisioning was interrupted", vmid),
			fmt.Sprintf("felhom-agentd provision --vmid %[1]d finishes it, or felhom-agentd guest remove --force %[1]d removes it", vmid))
	}
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	return unlock, nil
}

// claim excludes other runs on the guest until this one is over. It waits for another
// one until patience ends. It removes what a killed write of the guest's journal left:
// the first one leaves nothing else, so that no later command would look at this guest's
// files.
func (js journals) claim(ctx context.Context, vmid int, patience time.Duration) (func() error, error) {
	if err := atomicfile.MakeDirectory(js.dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := filelock.ClaimAtMost(ctx, filepath.Join(js.dir, strconv.Itoa(vmid)+".lock"), patience)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fault.WrapHint(fault.NotReady, fmt.Errorf("guest %d: %w", vmid, err), "that process changes the guest now; wait for it")
	}
	if err != nil {
		return nil, err
	}
	if err := js.with(func(root *os.Root) error { return atomicfile.Sweep(root, journalName(vmid)) }); err != nil {
		return nil, errors.Join(err, unlock())
	}
	return unlock, nil
}
