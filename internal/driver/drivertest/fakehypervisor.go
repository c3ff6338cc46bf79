package drivertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// ErrKilled is what a method returns that [FakeHypervisor.Kill] ended, when
// the function given there comes back.
var ErrKilled = errors.New("the process was killed")

// FakeArchive is an archive that a [FakeHypervisor] knows.
type FakeArchive struct {
	Config    []byte // pct.conf; nil: it has none
	Truncated bool   // Restore fails on it
}

// FakeHypervisor is a [driver.Hypervisor] in memory that passes the suite.
// Archives exist in it alone; sources of mounts are real directories.
type FakeHypervisor struct {
	// OnStart is told of each guest that started, after Start's work and
	// before its return: the place to act as the guest would.
	OnStart func(driver.Guest)

	mu       sync.Mutex
	archives map[string]FakeArchive
	bridges  []string
	guests   map[int]*driver.Guest
	consoles map[int]string
	fail     map[string]error
	kill     map[string]func()
	calls    []string
	warnings []string
	macs     int

	cloning   []string
	templates map[int]*fakeTemplate
	clones    map[int]int // to their template
	storages  map[int]string
}

// NewFakeHypervisor returns one without guests and archives, with these bridges.
func NewFakeHypervisor(bridges ...string) *FakeHypervisor {
	return &FakeHypervisor{
		bridges: bridges, archives: map[string]FakeArchive{}, guests: map[int]*driver.Guest{}, consoles: map[int]string{},
		fail: map[string]error{}, kill: map[string]func(){},
		templates: map[int]*fakeTemplate{}, clones: map[int]int{}, storages: map[int]string{},
	}
}

// looks are the methods that change nothing.
var looks = []string{"Guest", "Status", "Storage", "ArchiveConfig", "CanClone", "Templates"}

// begin locks f, and returns why the call must fail before it does anything.
func (f *FakeHypervisor) begin(ctx context.Context, method string, vmid int) error {
	f.mu.Lock()
	if !slices.Contains(looks, method) {
		f.calls = append(f.calls, fmt.Sprintf("%s %d", method, vmid))
	}
	return errors.Join(context.Cause(ctx), f.fail[method])
}

// end unlocks f, with the error of guest vmid or, where it was told so, the
// end of the process.
func (f *FakeHypervisor) end(method string, vmid int, err *error) {
	at := f.kill[method]
	delete(f.kill, method)
	f.mu.Unlock()
	if at != nil {
		at()
		*err = ErrKilled
	}
	if *err != nil {
		*err = fmt.Errorf("guest %d: %w", vmid, *err)
	}
}

// errNoGuest has the kind that the drivers give it.
var errNoGuest = driver.Fault(driver.ErrNotFound, "felhom-agentd guest list shows the guests of this host", driver.ErrNotFound)

// whole returns a guest that is there and not partial; f is locked.
func (f *FakeHypervisor) whole(vmid int) (*driver.Guest, error) {
	switch g := f.guests[vmid]; {
	case g == nil:
		return nil, errNoGuest
	case g.Partial:
		return g, driver.ErrPartial
	default:
		return g, nil
	}
}

// Storage implements [driver.Hypervisor]; each file system is a tenth full.
func (f *FakeHypervisor) Storage(ctx context.Context, vmid int) (usage []driver.Usage, err error) {
	err = f.begin(ctx, "Storage", vmid)
	defer f.end("Storage", vmid, &err)
	if err != nil {
		return nil, err
	}
	g := f.guests[vmid]
	if g == nil {
		return nil, errNoGuest
	}
	usage = []driver.Usage{{Path: "/", Size: 10 << 30, Used: 1 << 30, Available: 9 << 30}}
	for _, m := range g.Mounts {
		usage = append(usage, driver.Usage{Path: m.Target, Size: 10 << 30, Used: 1 << 30, Available: 9 << 30})
	}
	slices.SortFunc(usage, func(a, b driver.Usage) int { return strings.Compare(a.Path, b.Path) })
	return usage, nil
}

// Guest implements [driver.Hypervisor].
func (f *FakeHypervisor) Guest(ctx context.Context, vmid int) (guest driver.Guest, err error) {
	err = f.begin(ctx, "Guest", vmid)
	defer f.end("Guest", vmid, &err)
	if err != nil {
		return driver.Guest{}, err
	}
	g := f.guests[vmid]
	if g == nil {
		return driver.Guest{}, errNoGuest
	}
	guest = *g
	guest.Mounts = slices.Clone(g.Mounts)
	return guest, nil
}

// Status implements [driver.Hypervisor].
func (f *FakeHypervisor) Status(ctx context.Context, vmid int) (st driver.Status, err error) {
	err = f.begin(ctx, "Status", vmid)
	defer f.end("Status", vmid, &err)
	if err != nil {
		return driver.Status{}, err
	}
	g := f.guests[vmid]
	if g == nil {
		return driver.Status{}, errNoGuest
	}
	return driver.Status{State: g.State, Console: driver.ConsoleLines([]byte(f.consoles[vmid])), ConsoleFile: fmt.Sprintf("/fake/%d/console.log", vmid)}, nil
}

// ArchiveConfig implements [driver.Hypervisor].
func (f *FakeHypervisor) ArchiveConfig(ctx context.Context, archive string) (conf []byte, err error) {
	err = f.begin(ctx, "ArchiveConfig", 0)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return f.config(archive)
}

func (f *FakeHypervisor) config(archive string) ([]byte, error) {
	a, ok := f.archives[archive]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: no such file: %w", archive, driver.ErrArchive)
	case a.Config == nil:
		return nil, fmt.Errorf("%s: no pct.conf: %w", archive, driver.ErrArchive)
	}
	return slices.Clone(a.Config), nil
}

// Check implements [driver.Hypervisor].
func (f *FakeHypervisor) Check(ctx context.Context, vmid int, s driver.Spec) (err error) {
	err = f.begin(ctx, "Check", vmid)
	defer f.end("Check", vmid, &err)
	if err != nil {
		return err
	}
	if s.Archive == "" {
		return f.checkSettings(s)
	}
	_, err = f.plan(vmid, s)
	return err
}

// checkSettings finds what is wrong with s beside its archive.
func (f *FakeHypervisor) checkSettings(s driver.Spec) error {
	var bridgeErr, nameErr error
	if s.Net.Bridge != "" && !slices.Contains(f.bridges, s.Net.Bridge) {
		bridgeErr = fmt.Errorf("%s: %w", s.Net.Bridge, driver.ErrNoBridge)
	}
	if s.Hostname != "" {
		if _, err := pctconf.Canonical("hostname", s.Hostname); err != nil {
			nameErr = fmt.Errorf("%w: %w", driver.ErrRefused, err)
		}
	}
	return errors.Join(bridgeErr, nameErr)
}

// Warnings implements [driver.Hypervisor].
func (f *FakeHypervisor) Warnings(context.Context, driver.Spec) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.warnings), nil
}

// plan returns the guest that a Restore makes, or all that is wrong with s.
func (f *FakeHypervisor) plan(vmid int, s driver.Spec) (*driver.Guest, error) {
	conf, archiveErr := f.config(s.Archive)
	config, _ := pctconf.Parse(conf)
	if err := errors.Join(archiveErr, f.checkSettings(s)); err != nil {
		return nil, err
	}
	hostname, _ := config.Get("hostname")
	onBoot, _ := config.Bool("onboot")
	net, _, err := config.Net(0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", driver.ErrArchive, err)
	}
	f.macs++
	g := &driver.Guest{
		VMID: vmid, State: driver.Stopped, Root: driver.IDs{UID: 100000, GID: 100000}, Net: net.With(s.Net),
		Hostname: cmp.Or(s.Hostname, hostname), Description: cmp.Or(s.Description, config.Description), OnBoot: onBoot,
	}
	if s.OnBoot != nil {
		g.OnBoot = *s.OnBoot
	}
	g.Net.MAC = fmt.Sprintf("BC:24:11:%02X:%02X:%02X", f.macs>>16&0xff, f.macs>>8&0xff, f.macs&0xff)
	return g, nil
}

// Restore implements [driver.Hypervisor]. It reports its progress three times.
func (f *FakeHypervisor) Restore(ctx context.Context, vmid int, s driver.Spec, p driver.Progress) (err error) {
	err = f.begin(ctx, "Restore", vmid)
	defer f.end("Restore", vmid, &err)
	switch {
	case err != nil:
		return err
	case f.guests[vmid] != nil:
		return driver.ErrExists
	}
	g, err := f.plan(vmid, s)
	if err != nil {
		return err
	}
	const total = 1 << 20
	for done := range int64(3) {
		if p != nil {
			p(done*total/2, total)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	if f.archives[s.Archive].Truncated {
		return fmt.Errorf("%s: unexpected end: %w", s.Archive, driver.ErrArchive)
	}
	if f.kill["Restore"] != nil {
		g = &driver.Guest{VMID: vmid, State: driver.Stopped, Partial: true, Lock: "create"}
	}
	f.guests[vmid], f.storages[vmid] = g, s.Storage
	delete(f.clones, vmid)
	return nil
}

// Discard implements [driver.Hypervisor].
func (f *FakeHypervisor) Discard(ctx context.Context, vmid int, _ string) (err error) {
	err = f.begin(ctx, "Discard", vmid)
	defer f.end("Discard", vmid, &err)
	if err != nil {
		return err
	}
	if g := f.guests[vmid]; g != nil && !g.Partial {
		return driver.ErrExists
	}
	delete(f.guests, vmid)
	return nil
}

// Attach implements [driver.Hypervisor].
func (f *FakeHypervisor) Attach(ctx context.Context, vmid int, m driver.Mount) (err error) {
	err = f.begin(ctx, "Attach", vmid)
	defer f.end("Attach", vmid, &err)
	if err != nil {
		return err
	}
	g, err := f.whole(vmid)
	if err != nil {
		return err
	}
	if err := driver.CheckMount(m); err != nil {
		return err
	}
	at := slices.IndexFunc(g.Mounts, func(o driver.Mount) bool { return o.Target == m.Target })
	switch {
	case at < 0:
		g.Mounts = append(g.Mounts, m)
	case g.Mounts[at] == m:
	case g.State == driver.Running:
		return driver.ErrPending
	default:
		g.Mounts[at] = m
	}
	return nil
}

// Detach implements [driver.Hypervisor]; it always works at once.
func (f *FakeHypervisor) Detach(ctx context.Context, vmid int, target string) (err error) {
	err = f.begin(ctx, "Detach", vmid)
	defer f.end("Detach", vmid, &err)
	if err != nil {
		return err
	}
	g, err := f.whole(vmid)
	if err != nil {
		return err
	}
	g.Mounts = slices.DeleteFunc(g.Mounts, func(m driver.Mount) bool { return m.Target == target })
	return nil
}

// Start implements [driver.Hypervisor].
func (f *FakeHypervisor) Start(ctx context.Context, vmid int) error {
	g, err := f.start(ctx, vmid)
	if err == nil && f.OnStart != nil {
		f.OnStart(g)
	}
	return err
}

func (f *FakeHypervisor) start(ctx context.Context, vmid int) (started driver.Guest, err error) {
	err = f.begin(ctx, "Start", vmid)
	defer f.end("Start", vmid, &err)
	if err != nil {
		return driver.Guest{}, err
	}
	g, err := f.whole(vmid)
	switch {
	case err != nil:
		return driver.Guest{}, err
	case g.State == driver.Running:
		return driver.Guest{}, driver.ErrRunning
	case f.templates[vmid] != nil:
		return driver.Guest{}, driver.ErrProtected
	}
	for _, m := range g.Mounts {
		if err := driver.CheckMount(m); err != nil {
			return driver.Guest{}, fmt.Errorf("%w: %w", driver.ErrStart, err)
		}
	}
	g.State = driver.Running
	delete(f.consoles, vmid)
	started = *g
	started.Mounts = slices.Clone(g.Mounts)
	return started, nil
}

// Shutdown implements [driver.Hypervisor].
func (f *FakeHypervisor) Shutdown(ctx context.Context, vmid int, _ time.Duration) (err error) {
	err = f.begin(ctx, "Shutdown", vmid)
	defer f.end("Shutdown", vmid, &err)
	if err != nil {
		return err
	}
	g, err := f.whole(vmid)
	switch {
	case err != nil:
		return err
	case g.State != driver.Running:
		return driver.ErrNotRunning
	}
	g.State = driver.Stopped
	return nil
}

// Destroy implements [driver.Hypervisor].
func (f *FakeHypervisor) Destroy(ctx context.Context, vmid int) (err error) {
	err = f.begin(ctx, "Destroy", vmid)
	defer f.end("Destroy", vmid, &err)
	if err != nil {
		return err
	}
	g, err := f.whole(vmid)
	switch {
	case err != nil:
		return err
	case g.State == driver.Running:
		return driver.ErrRunning
	case f.templates[vmid] != nil:
		return driver.ErrProtected
	case f.kill["Destroy"] != nil:
		g.Partial, g.Lock = true, "destroyed"
	default:
		delete(f.guests, vmid)
	}
	return nil
}
