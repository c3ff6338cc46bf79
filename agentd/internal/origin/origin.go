// Package origin proves from where a request comes: the address it came from is
// looked up in the kernel's neighbour table, the MAC found there in the table of
// the bridge, and the port found there must be one of the guest's, as the
// guest's own configuration says. Call [Open], then [Checker.Check] for each
// request.
//
// What it does not prove: a guest may take any address, and may send for others
// through its own port. The kernel's tables are of the moment: an attacker that
// takes a guest's address or MAC is found by the port, and for [holdTime] after
// such a move no source of them is believed. Bridges of Open vSwitch have no such table.
package origin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Reason is why a source is not the guest's.
type Reason string

// The reasons.
const (
	// FromHost means that the address is one of this host.
	FromHost Reason = "host"
	// Routed means that the address is behind a router, so that no port shows who has it.
	Routed Reason = "routed"
	// NotBridged means that the address is reached through an interface that is
	// not a bridge of Linux, nor a VLAN of one.
	NotBridged Reason = "not-bridged"
	// NoNeighbor means that the kernel does not know the MAC of the address now.
	NoNeighbor Reason = "no-neighbor"
	// NoPort means that the bridge does not know the port of the MAC now.
	NoPort Reason = "no-port"
	// OtherPort means that the port is not the guest's.
	OtherPort Reason = "other-port"
	// OtherMAC means that the port is the guest's and the MAC is not.
	OtherMAC Reason = "other-mac"
	// OtherBridge means that the port and the MAC are the guest's, on another bridge.
	OtherBridge Reason = "other-bridge"
	// Moved means that address or MAC were just seen elsewhere.
	Moved Reason = "moved"
	// NoGuest means that there is no configuration of the guest on this host.
	NoGuest Reason = "no-guest"
	// Failed means that the kernel or the hypervisor did not answer.
	Failed Reason = "failed"
)

// Reasons are all reasons, sorted.
var Reasons = []Reason{Failed, FromHost, Moved, NoGuest, NoNeighbor, NoPort, NotBridged, OtherBridge, OtherMAC, OtherPort, Routed}

// Mismatch is the error of a request that is not proven to be the guest's.
type Mismatch struct {
	Reason Reason
	Guest  int
	Source netip.Addr
	Detail string // "port eno1 of vmbr0, MAC bc:24:11:00:00:01"
}

// Error implements error.
func (m *Mismatch) Error() string {
	text := fmt.Sprintf("%s is not proven to be guest %d: %s", m.Source, m.Guest, m.Reason)
	if m.Detail != "" {
		text += ": " + m.Detail
	}
	return text
}

// IsTemporary reports whether the same request may be accepted soon: the
// kernel's tables have no answer, or one that just changed.
func (m *Mismatch) IsTemporary() bool {
	return m.Reason == NoNeighbor || m.Reason == NoPort || m.Reason == Moved || m.Reason == Failed
}

// Times and bounds of what is remembered.
const (
	cacheTime    = 10 * time.Second // of what was found; a change of a table ends it at once
	refusalTime  = time.Second      // the same for a mismatch
	holdTime     = 10 * time.Second // how long a source that moved is not believed
	placeTime    = time.Minute      // how long a place is remembered to notice a move
	maxCached    = 4096
	maxPlaces    = 4096
	patience     = 2 * time.Second // for the hypervisor's answer
	lookAgain    = 100 * time.Millisecond
	looksForMore = 3
)

// Interfaces returns the interfaces of a guest. It is a method of
// [driver.Hypervisor].
type Interfaces func(ctx context.Context, vmid int) ([]driver.Interface, error)

// Checker compares sources with guests. Its methods are safe for concurrent use.
type Checker struct {
	interfaces Interfaces
	kernel     *kernel
	events     *events
	now        func() time.Time
	done       chan struct{}

	mu     sync.Mutex
	memory *memory

	checked    atomic.Uint64
	mismatches map[Reason]*atomic.Uint64
}

// Open returns a Checker of the network namespace of the calling thread. Close
// it after use.
func Open(interfaces Interfaces) (*Checker, error) {
	k, err := openKernel()
	if err != nil {
		return nil, fmt.Errorf("origin of requests: %w", err)
	}
	// Before the first look: a change after it must be seen.
	e, err := openEvents()
	if err != nil {
		k.close()
		return nil, fmt.Errorf("origin of requests: %w", err)
	}
	c := &Checker{interfaces: interfaces, kernel: k, events: e, now: time.Now, done: make(chan struct{}), memory: newMemory(), mismatches: map[Reason]*atomic.Uint64{}}
	for _, r := range Reasons {
		c.mismatches[r] = &atomic.Uint64{}
	}
	go c.follow()
	return c, nil
}

// Close ends the Checker. No Check may be under way.
func (c *Checker) Close() error {
	err := c.events.close()
	<-c.done
	c.kernel.close()
	return err
}

// follow reads changes while no request does, so that a move is noted in time.
func (c *Checker) follow() {
	defer close(c.done)
	c.events.wait(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.catchUp()
	})
}

// catchUp applies the changes that the kernel has noted until now, and reports
// whether these were all. The kernel notes a change while it makes it: what is
// remembered after catchUp holds at that moment.
func (c *Checker) catchUp() bool {
	now := c.now()
	return c.events.read(func(ch change) { c.memory.apply(ch, now) })
}

// Counts are what a Checker did since it was opened.
type Counts struct {
	Checked    uint64            // all calls of Check
	Mismatches map[Reason]uint64 // those with an error, by reason; without zeros
}

// Counts returns the counts of now.
func (c *Checker) Counts() Counts {
	out := Counts{Checked: c.checked.Load(), Mismatches: map[Reason]uint64{}}
	for _, r := range Reasons {
		if n := c.mismatches[r].Load(); n > 0 {
			out.Mismatches[r] = n
		}
	}
	return out
}

// Check returns nil if source is now proven to be guest vmid, else a *Mismatch.
func (c *Checker) Check(ctx context.Context, source netip.Addr, vmid int) error {
	c.checked.Add(1)
	source = source.Unmap()
	m := c.check(ctx, source, vmid)
	if m == nil {
		return nil
	}
	c.mismatches[m.Reason].Add(1)
	return m
}

func (c *Checker) check(ctx context.Context, source netip.Addr, vmid int) *Mismatch {
	var at place
	var m *Mismatch
	for range looksForMore {
		c.mu.Lock()
		isCurrent := c.catchUp()
		if hit, ok := c.memory.cached(source, vmid, c.now()); ok && isCurrent {
			c.mu.Unlock()
			return hit.mismatch
		}
		start := c.memory.changes
		c.mu.Unlock()
		at, m = c.find(ctx, source, vmid)
		if verdict, ok := c.settle(source, found{vmid: vmid, at: at, mismatch: m}, start); ok {
			return verdict
		}
		// Something changed meanwhile, or so much that it is not known: look again.
		if !wait(ctx, lookAgain>>looksForMore) {
			break
		}
	}
	if m != nil {
		return m
	}
	return &Mismatch{Reason: Moved, Guest: vmid, Source: source, Detail: at.String()}
}

// settle returns the verdict on what was found by a look that began after change
// number start; ok is false if a change since then makes the look worthless.
func (c *Checker) settle(source netip.Addr, f found, start uint64) (_ *Mismatch, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	isCurrent := c.catchUp()
	now := c.now()
	isConcerned, isKnown := c.memory.since(start, f.at)
	isSure := isKnown && isCurrent && !isConcerned
	switch m := f.mismatch; {
	case m != nil:
		m.Guest, m.Source = f.vmid, source
		// While another takes a guest's address, the guest itself may be the one
		// that asks: it is asked to try again, and does not give up.
		if !m.IsTemporary() && f.at.isComplete() && c.memory.hasMoved(f.at, now) {
			m.Reason = Moved
		}
		if isSure && !m.IsTemporary() {
			c.memory.keep(source, f, now)
		}
		return m, isSure || !m.IsTemporary()
	case !isSure:
		return nil, false
	case c.memory.hasMoved(f.at, now):
		// Not kept: each look sees whether it still moves.
		return &Mismatch{Reason: Moved, Guest: f.vmid, Source: source, Detail: f.at.String()}, true
	}
	c.memory.keep(source, f, now)
	return nil, true
}

// find looks source up and compares it with the guest's configuration.
func (c *Checker) find(ctx context.Context, source netip.Addr, vmid int) (place, *Mismatch) {
	at, m := c.locate(ctx, source)
	if m != nil {
		return at, m
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nics, err := c.interfaces(ctx, vmid)
	if errors.Is(err, driver.ErrNotFound) {
		return at, &Mismatch{Reason: NoGuest, Detail: at.String()}
	}
	// The interfaces that could be read count; without any it is a failure.
	if err != nil && len(nics) == 0 {
		return at, &Mismatch{Reason: Failed, Detail: err.Error()}
	}
	return at, compare(at, nics)
}

// locate asks the kernel, some times more if it has no answer: an entry that
// was just pushed out of its table is made again by the guest's next frame.
func (c *Checker) locate(ctx context.Context, source netip.Addr) (place, *Mismatch) {
	pause := lookAgain >> looksForMore
	for {
		at, m := c.kernel.locate(source)
		if m == nil || m.Reason != NoNeighbor && m.Reason != NoPort || pause > lookAgain || !wait(ctx, pause) {
			return at, m
		}
		pause *= 2
	}
}

// wait reports whether the time passed before ctx was done.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// compare returns nil if one of the interfaces is at that place.
func compare(at place, nics []driver.Interface) *Mismatch {
	reason := OtherPort
	for _, nic := range nics {
		if !slices.Contains(nic.Ports, at.portName) {
			continue
		}
		switch {
		case !strings.EqualFold(nic.MAC, at.mac.String()):
			reason = OtherMAC
		case !isBridgeOf(nic, at.bridgeName):
			reason = OtherBridge
		default:
			return nil
		}
	}
	return &Mismatch{Reason: reason, Detail: at.String()}
}

// isBridgeOf reports whether an interface's port is on the bridge name: for a
// tag on a bridge that does not know VLANs, PVE makes another one beside it.
func isBridgeOf(nic driver.Interface, name string) bool {
	return name == nic.Bridge || nic.VLAN != 0 && name == fmt.Sprintf("%sv%d", nic.Bridge, nic.VLAN)
}
