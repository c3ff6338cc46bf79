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
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/lock"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/atomicfile"
)

const (
	recordVersion = 1

	// maxRecordBytes bounds a record that somebody else wrote; ours are 0.5 KiB.
	maxRecordBytes = 64 << 10

	// maxAge is how long a decision may rest on what was read before.
	maxAge = time.Second

	// raceWindow: a folder changed this shortly before it was read may change
	// again within the same tick of its clock, unseen.
	raceWindow = 50 * time.Millisecond
)

// ErrNotFound says that there is no record of that guest.
var ErrNotFound = errors.New("no such guest")

// Record is what is stored of one guest.
type Record struct {
	Version   int       `json:"version"`
	VMID      int       `json:"vmid"`
	Added     time.Time `json:"added"`
	IDMapBase int       `json:"id_map_base"` // host id of the guest's root
	Current   Stored    `json:"current"`
	Previous  *Stored   `json:"previous,omitempty"` // still accepted until ValidUntil or the first use of Current

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

// Store is the folder of records and the folder of reports.
type Store struct {
	records *os.Root
	reports *os.Root
	lock    string // guards read, change and write; in the state folder, since pmxcfs has only node-local locks too
	now     func() time.Time

	mu   sync.Mutex
	snap snapshot

	reportMu sync.Mutex // one writer of reports per process; only serve writes them
}

type snapshot struct {
	taken   time.Time
	changed time.Time // the folder's mtime before it was read
	byVMID  map[int]Record
	broken  map[string]error // by file name
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
	return &Store{records: records, reports: reports, lock: filepath.Join(stateDir, "guests.lock"), now: now}, nil
}

// Close gives the folders back. The Store is of no use after it.
func (s *Store) Close() error { return errors.Join(s.records.Close(), s.reports.Close()) }

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
	out := make([]Record, 0, len(s.snap.byVMID))
	for _, r := range s.snap.byVMID {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.VMID, b.VMID) })
	return out, s.snap.broken, nil
}

// Update runs change on the guest's record under the node's lock and writes the
// result; where there is no record, change gets the zero Record. An error of
// change leaves the file as it was.
func (s *Store) Update(ctx context.Context, vmid int, change func(*Record) error) (err error) {
	unlock, err := lock.Wait(ctx, s.lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
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
	unlock, err := lock.Wait(ctx, s.lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if old != nil {
		return s.write(vmid, *old)
	}
	s.forget()
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
	s.forget()
	// No Chown: pmxcfs refuses it, and elsewhere the file is root's already.
	if err := atomicfile.Write(s.records, fileName(vmid), append(data, '\n'), atomicfile.Attr{Mode: 0o600}); err != nil {
		return fmt.Errorf("record of guest %d: %w", vmid, err)
	}
	s.forget()
	return nil
}

func (s *Store) forget() {
	s.mu.Lock()
	s.snap = snapshot{}
	s.mu.Unlock()
}

func (s *Store) read(name string) (Record, error) {
	data, err := readBounded(s.records, name)
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

// refresh makes the snapshot good enough to decide on. It holds no decision
// longer than maxAge, and sees a change made through this node at once: every
// change is a rename, and a rename changes the folder's mtime.
func (s *Store) refresh(force bool) error {
	info, err := s.records.Stat(".")
	if err != nil {
		return fmt.Errorf("guest store: %w", err)
	}
	now := s.now()
	age := now.Sub(s.snap.taken)
	if !force && s.snap.byVMID != nil && age >= 0 && age < maxAge &&
		info.ModTime().Equal(s.snap.changed) && s.snap.taken.Sub(s.snap.changed) > raceWindow {
		return nil
	}
	dir, err := s.records.Open(".")
	if err != nil {
		return fmt.Errorf("guest store: %w", err)
	}
	names, err := dir.Readdirnames(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("guest store: %w", err)
	}
	next := snapshot{taken: now, changed: info.ModTime(), byVMID: map[int]Record{}, broken: map[string]error{}}
	for _, name := range names {
		if strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".json") {
			continue // a write that is under way, or none of ours
		}
		switch r, err := s.read(name); {
		case err == nil:
			next.byVMID[r.VMID] = r
		case errors.Is(err, ErrNotFound): // removed since
		default:
			next.broken[name] = err
		}
	}
	s.snap = next
	return nil
}

func fileName(vmid int) string { return strconv.Itoa(vmid) + ".json" }

func readBounded(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %v, want a regular file", name, info.Mode().Type())
	}
	if info.Size() > maxRecordBytes {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", name, info.Size(), maxRecordBytes)
	}
	return root.ReadFile(name)
}
