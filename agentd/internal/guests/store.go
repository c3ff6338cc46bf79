// Package guests owns what the host knows about its guests: one small JSON file
// each, replaced by rename, with the digests of the guest's tokens; and, apart
// from it, what the guest reported. It decides whether a token is a guest's. It
// writes no config mount and speaks to no network.
//
// The folder of the records may lie on pmxcfs (below /etc/pve/priv), so that
// every node of a cluster can serve every guest: no links, no owner changes,
// mode 0600 only, one write per file. Locks are the node's own.
package guests

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

const (
	recordVersion = 1

	// maxRecordBytes bounds a record that somebody else wrote; ours are 0.5 KiB.
	maxRecordBytes = 64 << 10

	// maxAge is how long a decision may rest on what was read before, where the
	// kernel says nothing of a change.
	maxAge = time.Second
)

// ErrNotFound says that there is no record of that guest.
var ErrNotFound = errors.New("no such guest")

// ErrBusy says that the store cannot take this now and that a later try may
// succeed: its queue is full, or another process holds its lock.
var ErrBusy = errors.New("guest store is busy")

// Record is what is stored of one guest.
type Record struct {
	Version   int       `json:"version"`
	VMID      int       `json:"vmid"`
	Added     time.Time `json:"added"`
	IDMapBase int       `json:"id_map_base"` // host id of the guest's root
	Current   Stored    `json:"current"`
	Previous  *Stored   `json:"previous,omitempty"` // still accepted until ValidUntil or the first use of Current
	// Pending are tokens that were minted and may be in the guest's mount: each is
	// accepted until the mount is known to hold another ([Record.Confirm]), so
	// that no end of a command leaves a mount with a token that nobody knows.
	Pending []Stored `json:"pending,omitempty"`

	ControllerImage string       `json:"controller_image,omitempty"` // where it is not the configuration's
	Provisioned     *Provisioned `json:"provisioned,omitempty"`      // nil: somebody else made the guest
}

// Provisioned says how this host made the guest.
type Provisioned struct {
	ID     string    `json:"id"`     // stands in the guest's description as well
	Golden string    `json:"golden"` // archive or volume
	At     time.Time `json:"at"`
}

// Stored is one token as it is kept: never the token itself.
type Stored struct {
	SHA256     token.Digest `json:"sha256"`
	Minted     time.Time    `json:"minted"`
	FirstUsed  *time.Time   `json:"first_used,omitempty"`
	ValidUntil *time.Time   `json:"valid_until,omitempty"`
}

// Store is the directory of records and the directory of reports.
type Store struct {
	records *os.Root
	reports *os.Root
	lock    string // guards read, change and write; in the state directory, since pmxcfs has only node-local locks too
	now     func() time.Time

	mu    sync.Mutex
	index index

	marks  marks
	writer reportWriter
}

// Open opens the store, making its folders. recordsDir may lie on pmxcfs,
// stateDir holds the node's own lock and the reports.
func Open(recordsDir, stateDir string, now func() time.Time) (*Store, error) {
	reportsDir := filepath.Join(stateDir, "reports")
	for _, dir := range []string{recordsDir, reportsDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open guest store: %w", err)
		}
	}
	records, err := os.OpenRoot(recordsDir)
	if err != nil {
		return nil, fmt.Errorf("open guest store: %w", err)
	}
	reports, err := os.OpenRoot(reportsDir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open guest store: %w", err), records.Close())
	}
	s := &Store{records: records, reports: reports, lock: filepath.Join(stateDir, "guests.lock"), now: now}
	s.index.notes = -1
	s.marks.init(s)
	s.writer.init(s)
	return s, nil
}

// Close ends the writers once all that was accepted is on disk, and closes the
// directories. The Store must not be used after it.
func (s *Store) Close() error {
	s.marks.close()
	err := s.writer.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.index.close(), s.records.Close(), s.reports.Close())
}

// Sweep removes what killed writes left in both directories. Only the daemon may
// call it, before its first report.
func (s *Store) Sweep(ctx context.Context) (err error) {
	unlock, err := filelock.Wait(ctx, s.lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return errors.Join(atomicfile.SweepAll(s.records), atomicfile.SweepAll(s.reports))
}

// Get returns the record of guest vmid as it is on disk now, or ErrNotFound.
func (s *Store) Get(vmid int) (Record, error) {
	return s.read(fileName(vmid))
}

// List returns all records by VMID, and by file name those that cannot be read.
func (s *Store) List() ([]Record, map[string]error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(true); err != nil {
		return nil, nil, err
	}
	out := make([]Record, 0, len(s.index.byVMID))
	for _, r := range s.index.byVMID {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.VMID, b.VMID) })
	return out, maps.Clone(s.index.broken), nil
}

// Update runs change on the guest's record under the node's lock and writes the
// result; where there is no record, change gets the zero Record. An error of
// change leaves the file as it was.
func (s *Store) Update(ctx context.Context, vmid int, change func(*Record) error) (err error) {
	unlock, err := filelock.Wait(ctx, s.lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := atomicfile.Sweep(s.records, fileName(vmid)); err != nil {
		return err
	}
	return s.change(vmid, change)
}

// change is Update without the lock, which is held.
func (s *Store) change(vmid int, change func(*Record) error) error {
	r, err := s.read(fileName(vmid))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := change(&r); err != nil {
		return err
	}
	return s.write(vmid, r)
}

// Replace puts a record back as it was, or away when old is nil: the undo step
// of whoever could not finish what Update began.
func (s *Store) Replace(ctx context.Context, vmid int, old *Record) (err error) {
	unlock, err := filelock.Wait(ctx, s.lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := atomicfile.Sweep(s.records, fileName(vmid)); err != nil {
		return err
	}
	if old != nil {
		return s.write(vmid, *old)
	}
	if err := s.records.Remove(fileName(vmid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove record of guest %d: %w", vmid, err)
	}
	return nil
}

func (s *Store) write(vmid int, r Record) error {
	r.Version, r.VMID = recordVersion, vmid
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode record of guest %d: %w", vmid, err)
	}
	// No Chown: pmxcfs refuses it, and elsewhere the file is root's already.
	if err := atomicfile.Write(s.records, fileName(vmid), append(data, '\n'), atomicfile.Attr{Mode: 0o600}); err != nil {
		return fmt.Errorf("record of guest %d: %w", vmid, err)
	}
	return nil
}

func (s *Store) read(name string) (Record, error) {
	data, err := readBounded(s.records, name, maxRecordBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, ErrNotFound
	}
	if err != nil {
		return Record{}, err
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%s: %w", name, err)
	}
	if r.Version != recordVersion {
		return Record{}, fmt.Errorf("%s: version %d, want %d", name, r.Version, recordVersion)
	}
	if fileName(r.VMID) != name {
		return Record{}, fmt.Errorf("%s: holds the record of guest %d", name, r.VMID)
	}
	return r, nil
}

func fileName(vmid int) string { return strconv.Itoa(vmid) + ".json" }

func vmidOf(name string) (int, bool) {
	vmid, err := strconv.Atoi(strings.TrimSuffix(name, ".json"))
	return vmid, err == nil && fileName(vmid) == name
}

// readBounded refuses links as well: no file of the store is one.
func readBounded(root *os.Root, name string, limit int64) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: it is %v", name, regular.ErrNotRegular, info.Mode().Type())
	}
	return regular.ReadIn(root, name, limit)
}
