// Package guests stores what the host knows about its guests: a record of each,
// with the digests of its tokens, and what it reported. Call [Open] first. It
// decides whether a token belongs to a guest; it writes no config mount and
// uses no network.
//
// A record is a small JSON file that is replaced by rename. The directory of the
// records may be on pmxcfs (below /etc/pve/priv), so that every node of a cluster
// can serve every guest: no links, no owner changes, mode 0600 only, one write
// for each file. Locks and reports are the node's own.
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

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

const (
	recordVersion = 1

	// maxRecordBytes is the limit for a record. Most have 0.5 KiB; the settings of
	// a container, which bootstrap.json bounds, can have many times that.
	maxRecordBytes = 1 << 20

	// maxAge is how long what was read stays in use if the kernel reports no
	// change.
	maxAge = time.Second

	// slowAge is the same for a disk on which a look at all records takes longer
	// than maxAge: within it, a guest's tries to ask again find an answer.
	slowAge = time.Minute

	// commandPatience is how long a command waits for the store's lock.
	commandPatience = 30 * time.Second

	// readPatience is how long a guest's request waits for the records' disk;
	// listPatience is how long a listing of all does.
	readPatience = 2 * time.Second
	listPatience = 30 * time.Second
)

// ErrNotFound means that there is no record of that guest.
var ErrNotFound = errors.New("no such guest")

// ErrBusy means that the store cannot do this now and that a later try may
// succeed: its queue is full, its disk does not answer, or another process holds
// its lock.
var ErrBusy = errors.New("guest store is busy")

// Store is the directory of records and the directory of reports.
type Store struct {
	records shared
	dirs    reportDirs
	lock    string // guards read, change and write on this node; in the state directory
	now     func() time.Time

	observe func(Change) error // nil: nothing observes
	closing sync.Once
	mu      sync.Mutex
	index   index

	marks    marks
	writer   reportWriter
	follower follower
}

// Open opens the store and creates its directories. recordsDir may be on
// pmxcfs; stateDir holds the node's own lock and the reports.
func Open(recordsDir, stateDir string, now func() time.Time) (_ *Store, err error) {
	s := &Store{lock: filepath.Join(stateDir, "guests.lock"), now: now}
	if err := s.records.open(recordsDir); err != nil {
		return nil, fmt.Errorf("open guest store: %w", err)
	}
	if err := s.dirs.open(filepath.Join(stateDir, ReportsDir)); err != nil {
		return nil, errors.Join(fmt.Errorf("open guest store: %w", err), s.closeRoots())
	}
	s.index.init()
	s.marks.init(s)
	s.writer.init(s)
	return s, nil
}

// Change is a change of who may use the local API.
type Change struct {
	Kind   ChangeKind
	VMID   int
	Digest string // first digits of the token's; "": of no single token
}

// ChangeKind is the kind of a change.
type ChangeKind int

// The kinds of changes.
const (
	TokenMinted ChangeKind = iota + 1
	TokensRevoked
	RecordRestored // a mint was undone
	RecordRemoved
)

// Observe has observe called before each change of this Store is made, for a
// revocation after it. An error of observe refuses the change. Call it before
// the first change.
func (s *Store) Observe(observe func(Change) error) { s.observe = observe }

func (s *Store) observed(c Change) error {
	if s.observe == nil {
		return nil
	}
	return s.observe(c)
}

func (s *Store) closeRoots() error {
	return errors.Join(s.dirs.close(), s.records.close())
}

// Close ends the writers once all that was accepted is on disk, and closes the
// directories. The Store must not be used after it. It is safe to repeat.
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		s.marks.close()
		err = s.writer.close()
		s.mu.Lock()
		defer s.mu.Unlock()
		err = errors.Join(err, s.index.close(), s.closeRoots())
	})
	return err
}

// sweepPatience is how long Sweep waits for the lock: a command that holds it
// for longer must not prevent the daemon from serving.
const sweepPatience = 5 * time.Second

// Sweep removes what killed writes left in both directories. Only the daemon may
// call it, before its first report. After an error the files stay; the daemon can
// serve all the same.
func (s *Store) Sweep(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepPatience)
	defer cancel()
	unlock, err := s.locked(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return errors.Join(ReadOnly(atomicfile.SweepAll(s.records.root())), atomicfile.SweepAll(s.dirs.files()))
}

// Get returns the record of guest vmid as it is on disk now, or ErrNotFound.
func (s *Store) Get(vmid int) (Record, error) {
	return s.read(fileName(vmid))
}

// Recent returns the record of guest vmid for one of its requests, or ErrNotFound.
// It has all changes of this node, and another node's after a second. A disk that
// does not answer keeps no thread of the caller, as it does in Get: the error is then
// [ErrBusy]. The caller must not change what the record refers to.
func (s *Store) Recent(vmid int) (Record, error) {
	r, isKnown, err := s.recent(vmid)
	if err == nil && !isKnown {
		err = ErrNotFound
	}
	return r, err
}

func (s *Store) recent(vmid int) (r Record, isKnown bool, err error) {
	name := fileName(vmid)
	if err := s.refresh(false, readPatience, name); err != nil {
		return Record{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.index.broken[name]; err != nil {
		return Record{}, false, fmt.Errorf("guest store: %w", err)
	}
	r, isKnown = s.index.byVMID[vmid]
	return r, isKnown, nil
}

// List returns all records by VMID, and by file name those that cannot be read.
func (s *Store) List() ([]Record, map[string]error, error) {
	if err := s.refresh(true, listPatience); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Record, 0, len(s.index.byVMID))
	for _, r := range s.index.byVMID {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.VMID, b.VMID) })
	return out, maps.Clone(s.index.broken), nil
}

// recordsOf returns the records of the guests in a batch. A guest without a
// record has the zero Record; a guest whose record cannot be read now is
// missing.
func (s *Store) recordsOf(batch []incoming) map[int]Record {
	out := make(map[int]Record, len(batch))
	names := make([]string, len(batch))
	for i, one := range batch {
		names[i] = fileName(one.vmid)
	}
	if s.refresh(false, readPatience, names...) != nil {
		return out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range batch {
		if s.index.broken[fileName(one.vmid)] == nil {
			out[one.vmid] = s.index.byVMID[one.vmid]
		}
	}
	return out
}

// locked takes the locks of the node and of the cluster for a change by a
// command.
func (s *Store) locked(ctx context.Context) (unlock func() error, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandPatience, fmt.Errorf("%w for more than %v", filelock.ErrHeld, commandPatience))
	defer cancel()
	unlock, err = s.lockBoth(ctx)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fault.WrapHint(fault.Busy, fmt.Errorf("%w: %w", ErrBusy, err), "another process changes the records of guests; try again when it has ended")
	}
	return unlock, err
}

// Update runs change on the guest's record under the node's lock and writes the
// result. If there is no record, change gets the zero Record. An error of
// change leaves the file as it was.
func (s *Store) Update(ctx context.Context, vmid int, change func(*Record) error) (err error) {
	unlock, err := s.locked(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := atomicfile.Sweep(s.records.root(), fileName(vmid)); err != nil {
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

// Replace restores a record to old, or removes it if old is nil. It is the undo
// step of a command that could not finish after Update. Tokens that were revoked
// meanwhile stay revoked.
func (s *Store) Replace(ctx context.Context, vmid int, old *Record) (err error) {
	unlock, err := s.locked(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := atomicfile.Sweep(s.records.root(), fileName(vmid)); err != nil {
		return err
	}
	if old != nil {
		if err := s.observed(Change{Kind: RecordRestored, VMID: vmid}); err != nil {
			return err
		}
		current, err := s.read(fileName(vmid))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return s.write(vmid, old.withoutRevoked(current))
	}
	if _, err := s.records.root().Lstat(fileName(vmid)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.observed(Change{Kind: RecordRemoved, VMID: vmid}); err != nil {
		return err
	}
	if err := s.records.root().Remove(fileName(vmid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove record of guest %d: %w", vmid, ReadOnly(err))
	}
	// Else a loss of power could bring a token back that was said to be dead.
	if err := atomicfile.SyncDirectory(s.records.root(), ""); err != nil {
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
	if len(data) >= maxRecordBytes { // it could not be read again, and the guest's token is in it
		return fmt.Errorf("record of guest %d: %d bytes exceed the limit of %d", vmid, len(data), maxRecordBytes)
	}
	// No Chown: pmxcfs refuses it, and elsewhere the file is root's already.
	if err := atomicfile.Write(s.records.root(), fileName(vmid), append(data, '\n'), atomicfile.Attr{Mode: 0o600}); err != nil {
		return fmt.Errorf("record of guest %d: %w", vmid, ReadOnly(err))
	}
	return nil
}

func (s *Store) read(name string) (Record, error) {
	data, err := readBounded(s.records.root(), name, maxRecordBytes)
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

// readBounded also refuses links: no file of the store is one.
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
