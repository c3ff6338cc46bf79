package main

import (
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
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/felhom/felhom-golden/agentd/internal/audit"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/lineage"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/regular"
)

const (
	// lineageEvery is how often the configurations of guests are looked at, beside
	// the kernel's notices.
	lineageEvery = 5 * time.Second

	lineageFile     = "lineage.json"
	maxLineageBytes = 16 << 20
)

var lineageKinds = map[lineage.Kind]audit.Kind{
	lineage.RolledBack: audit.GuestRolledBack, lineage.Replaced: audit.GuestReplaced, lineage.Copied: audit.GuestCopied,
}

// ancestry follows where the disks of the guests come from, and says which
// tokens have to end because of that.
type ancestry struct {
	cfg         config.Config
	store       *guests.Store
	logger      *logrus.Logger
	note        func(audit.Event)
	looker      lineage.Looker
	dir         string // of the configurations
	notices     *lineage.Notices
	isElsewhere func(vmid int) bool

	looked time.Time
	failed string // the last error: the same one is not logged at each look
	now    followed
	onDisk string // of now
}

// followed is what is kept over a restart of the daemon.
type followed struct {
	lineage.State
	// Ends are the guests whose tokens have to end: for how long the one in use stays
	// valid, in nanoseconds, and since when.
	Ends  map[int]time.Duration `json:"ends,omitempty"`
	Since map[int]time.Time     `json:"since,omitempty"`
	// Waiting are the last events of guests that a command of felhom-agentd makes or
	// removes, or was interrupted at: what they mean is known when that is over.
	Waiting map[int]waiting `json:"waiting,omitempty"`
}

// waiting is a [lineage.Event] that is not judged yet.
type waiting struct {
	Kind   audit.Kind `json:"kind"`
	Detail string     `json:"detail"`
	Before string     `json:"before,omitempty"`
	Seen   time.Time  `json:"seen"`
}

// isOwn reports whether the host has made the guest, as it is now, after the event.
func (w waiting) isOwn(is lineage.Guest, known lineage.Known, made time.Time) bool {
	// A run that finishes an interrupted one writes the same ID again.
	isSame := is.ID != "" && is.ID == known.ID && !made.Before(w.Seen.Truncate(time.Second))
	return isSame || lineage.IsOwn(is, known, w.Before)
}

func newAncestry(cfg config.Config, store *guests.Store, logger *logrus.Logger, note func(audit.Event), isElsewhere func(int) bool) *ancestry {
	a := &ancestry{cfg: cfg, store: store, logger: logger, note: note, isElsewhere: isElsewhere}
	dir := filepath.Join(pct.DefaultDir, "lxc")
	a.looker = lineage.Looker{ID: provision.IDOf, Files: func() (map[int]string, error) { return configurations(dir, ".conf", "") }}
	if cfg.Hypervisor == config.HypervisorLXC {
		dir = cfg.LXCPath
		a.looker.Files = func() (map[int]string, error) { return configurations(dir, "", "pct.conf") }
		a.looker.Disk = func(vmid int) string { return lineage.DirectoryID(filepath.Join(dir, strconv.Itoa(vmid), "rootfs")) }
	}
	// Without a hypervisor there is no such directory, and nothing is followed.
	a.dir, a.notices = dir, lineage.Watch(dir)
	if err := a.read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		logger.WithError(err).Warn("what was known of the guests' disks cannot be read; it is made again")
	}
	return a
}

// configurations returns the files of guests: <dir>/<vmid><suffix>, or the file
// inner below that. A file system that ends or starts meanwhile is an error, not a
// host without guests: they would be taken for new ones when it is back.
func configurations(dir, suffix, inner string) (map[int]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoHypervisor
	}
	if err != nil {
		return nil, err
	}
	files := map[int]string{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		vmid, err := strconv.Atoi(name)
		if !ok || err != nil {
			continue
		}
		file := filepath.Join(dir, e.Name(), inner)
		if inner != "" {
			_, err = os.Lstat(file)
		}
		switch {
		case err == nil:
			files[vmid] = file
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return nil, err
		}
	}
	if inner != "" && len(files) == 0 {
		return nil, errNoHypervisor // it may be a mount point whose file system is not mounted yet
	}
	return files, nil
}

// errNoHypervisor means that there are no configurations to look at now.
var errNoHypervisor = errors.New("no directory of configurations")

func (a *ancestry) file() string { return filepath.Join(a.cfg.StateDir, lineageFile) }

func (a *ancestry) read() error {
	data, err := regular.Read(a.file(), maxLineageBytes)
	if err != nil {
		return err
	}
	var now followed // of a damaged file nothing is known
	if err := json.Unmarshal(data, &now); err != nil {
		return fmt.Errorf("%s: %w", a.file(), err)
	}
	a.now, a.onDisk = now, string(data)
	return nil
}

// keep writes what is followed, if it has changed.
func (a *ancestry) keep() error {
	data, err := json.Marshal(a.now)
	if err != nil || string(data) == a.onDisk {
		return err
	}
	err = atomicfile.In(a.cfg.StateDir, func(root *os.Root) error {
		return atomicfile.Replace(root, lineageFile, data, atomicfile.Attr{Mode: 0o600})
	})
	if err == nil {
		a.onDisk = string(data)
	}
	return err
}

// look compares the guests with those of the last look, and reports whether
// there are tokens that have to end now. isDue also looks if the last one was a
// moment ago.
func (a *ancestry) look(ctx context.Context, isDue bool) (hasNew bool) {
	if a == nil {
		return false
	}
	if since := time.Since(a.looked); !isDue && since >= 0 && since < lineageEvery {
		return false
	}
	a.looked = time.Now()
	if a.notices.HasEnded() {
		if err := a.notices.Close(); err != nil {
			a.logger.WithError(err).Warn("notices of changes of guests")
		}
		a.notices = lineage.Watch(a.dir)
	}
	hasNew, err := a.compare(ctx)
	text := ""
	if err != nil && ctx.Err() == nil && !errors.Is(err, errNoHypervisor) {
		text = err.Error()
		if text != a.failed {
			a.logger.WithError(err).Warn("clones and rollbacks of guests are not noticed now")
		}
	}
	a.failed = text
	return hasNew
}

func (a *ancestry) compare(ctx context.Context) (hasNew bool, err error) {
	now, err := a.looker.Look()
	if err != nil {
		return false, err
	}
	records, _, err := a.store.List()
	if err != nil {
		return false, err
	}
	known, made, mounts := map[int]lineage.Known{}, map[int]time.Time{}, mountsOf(a.cfg)
	for _, r := range records {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		one := lineage.Known{Mount: mounts.Path(r.VMID)}
		if r.Provisioned != nil {
			one.ID, made[r.VMID] = r.Provisioned.ID, r.Provisioned.At
		}
		known[r.VMID] = one
	}
	// Read before the events, none of which may be lost by an error.
	isMade, err := provision.Unfinished(a.cfg.StateDir)
	if err != nil {
		return false, err
	}
	isElsewhere := func(vmid int) bool { return a.looker.IsUnread(vmid) || a.isElsewhere(vmid) }
	for _, e := range a.now.Compare(now, known, isElsewhere) {
		one := waiting{lineageKinds[e.Kind], logged(e.Detail), e.Before, time.Now().UTC()}
		switch {
		case e.Kind == lineage.Copied:
			a.mustEnd(e.VMID, one, a.cfg.Limits.TokenOverlap) // the guest itself runs, and has done nothing
			hasNew = true
		case isMade[e.VMID]: // the command ends the tokens, if it is what made the guest
			if a.now.Waiting == nil {
				a.now.Waiting = map[int]waiting{}
			}
			a.now.Waiting[e.VMID] = one
		default:
			a.mustEnd(e.VMID, one, 0) // the guest starts again, and reads its mount
			hasNew = true
		}
	}
	for _, vmid := range slices.Sorted(maps.Keys(a.now.Waiting)) {
		one, is := a.now.Waiting[vmid], a.now.Guests[vmid]
		if isMade[vmid] {
			continue
		}
		delete(a.now.Waiting, vmid)
		if _, isKnown := known[vmid]; isKnown && !is.IsGone && !one.isOwn(is, known[vmid], made[vmid]) {
			a.mustEnd(vmid, one, 0)
			hasNew = true
		}
	}
	for vmid := range a.now.Ends {
		if _, isKnown := known[vmid]; !isKnown {
			delete(a.now.Ends, vmid)
			delete(a.now.Since, vmid)
		}
	}
	return hasNew, a.keep()
}

// mustEnd notes that the tokens of a guest have to end.
func (a *ancestry) mustEnd(vmid int, why waiting, overlap time.Duration) {
	if a.now.Ends == nil {
		a.now.Ends = map[int]time.Duration{}
	}
	if a.now.Since == nil {
		a.now.Since = map[int]time.Time{}
	}
	if has, ok := a.now.Ends[vmid]; !ok || overlap < has {
		a.now.Ends[vmid], a.now.Since[vmid] = overlap, time.Now().UTC()
	}
	a.note(audit.Event{Kind: why.Kind, Guest: vmid, Detail: why.Detail})
	a.logger.WithFields(logrus.Fields{"guest": vmid, "detail": why.Detail}).Warn(fmt.Sprintf("%s: its tokens are replaced", strings.ReplaceAll(string(why.Kind), "-", " ")))
}

// overdue returns the guests whose tokens have to end now, also if no new one can be
// written.
func (a *ancestry) overdue() (vmids []int) {
	if a == nil {
		return nil
	}
	for _, vmid := range slices.Sorted(maps.Keys(a.now.Ends)) {
		overlap := a.now.Ends[vmid]
		// A time in the future is of a clock that was wrong.
		if since := time.Since(a.now.Since[vmid]); since < 0 || since >= overlap {
			vmids = append(vmids, vmid)
		}
	}
	return vmids
}

// ends reports whether the tokens of a guest have to be replaced, and for how
// long the one in use stays valid.
func (a *ancestry) ends(vmid int) (overlap time.Duration, ok bool) {
	if a == nil {
		return 0, false
	}
	overlap, ok = a.now.Ends[vmid]
	return overlap, ok
}

// ended notes that the tokens of a guest were replaced.
func (a *ancestry) ended(vmid int) error {
	if a == nil {
		return nil
	}
	delete(a.now.Ends, vmid)
	delete(a.now.Since, vmid)
	return a.keep()
}

// changes holds a value when a configuration may have changed.
func (a *ancestry) changes() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.notices.Changes()
}

func (a *ancestry) close() error { return a.notices.Close() }
