// Package provision owns the way from a golden to a guest whose controller is
// up, and the way back: check, token, mount, restore, attach, start, report.
// It decides what a half-done job means and undoes it; it knows interfaces and
// not Proxmox VE, and prints nothing.
//
// Before the first change a journal is written, and it is removed after the
// last: whatever ends the process, the next run finds the journal and goes on,
// or takes everything back. A guest is known to be ours by an ID in its
// description, so that nobody else's guest of the same VMID is ever touched.
package provision

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
)

// Step names a part of the job.
type Step string

// The steps in their order. Report is the wait for the guest; it changes
// nothing, so a guest that does not report stays as it is.
const (
	StepCheck   Step = "check"
	StepToken   Step = "token"
	StepMount   Step = "mount"
	StepRestore Step = "restore"
	StepAttach  Step = "attach"
	StepStart   Step = "start"
	StepReport  Step = "report"
	StepUndo    Step = "undo" // only after a failure
	StepRepair  Step = "repair"
)

// Observer is told what happens, from one goroutine.
type Observer interface {
	Started(vmid int, step Step)
	Bytes(vmid int, step Step, done, total int64) // of the archive
	Note(vmid int, step Step, text string)
	Ended(vmid int, step Step, result, detail string) // result: done, unchanged, failed
}

// Store is what is kept of guests. *guests.Store is one.
type Store interface {
	Get(vmid int) (guests.Record, error)
	Mint(ctx context.Context, vmid, idMapBase int, overlap time.Duration) (guests.Minted, error)
	Update(ctx context.Context, vmid int, change func(*guests.Record) error) error
	Replace(ctx context.Context, vmid int, old *guests.Record) error
	RemoveReports(vmid int) error
	Progress(vmid int) (guests.Progress, error)
}

// Options are a host's.
type Options struct {
	Hypervisor driver.Hypervisor
	Store      Store
	Mounts     configmount.Dir
	StateDir   string // journals and locks lie below
	Overlap    time.Duration
	// Bootstrap makes all of a guest's bootstrap.json but the token. image is
	// the controller's where it is not the configuration's.
	Bootstrap func(vmid int, image string) (contract.Bootstrap, error)
	Observer  Observer
	Now       func() time.Time
	// Poll is how often the guest's reports are looked at.
	Poll time.Duration
	// BridgeAddresses returns the addresses that this host has on a bridge; nil
	// looks at none.
	BridgeAddresses func(bridge string) ([]netip.Addr, error)
	// Resolver is the resolv.conf that a guest without name servers of its own
	// gets from the hypervisor; "": none.
	Resolver string
}

// Job is one guest that shall be.
type Job struct {
	VMID  int
	Spec  driver.Spec
	Image string // of the controller; "": the configuration's
	Start bool
}

// Outcome is what became of a job.
type Outcome string

// The outcomes.
const (
	Provisioned Outcome = "provisioned" // made by this run
	Finished    Outcome = "finished"    // begun by an earlier run, finished by this one
	Unchanged   Outcome = "unchanged"   // was there as it shall be
	Started     Outcome = "started"     // was there, and runs again
	Updated     Outcome = "updated"     // was there, and has a new bootstrap.json
)

// marker is the line of the description that makes a guest ours.
const marker = "felhom-agentd: provision "

// describe puts the guest's ID into its description, in place of any other: an
// archive may be a backup of a guest that was ours.
func describe(description, id string) string {
	var lines []string
	for line := range strings.SplitSeq(description, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), marker) {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "\n")
	if text != "" {
		text += "\n"
	}
	return text + marker + id
}

// idOf returns the ID in a guest's description, "" where there is none.
func idOf(description string) string {
	for line := range strings.SplitSeq(description, "\n") {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), marker); ok {
			return id
		}
	}
	return ""
}

func (o Options) mount(vmid int) driver.Mount {
	return driver.Mount{Source: o.Mounts.Path(vmid), Target: configmount.Target, ReadOnly: true}
}

// step runs one step between Started and Ended. work says with what result and
// detail it ended.
func (o Options) step(vmid int, name Step, work func() (result, detail string, err error)) error {
	o.Observer.Started(vmid, name)
	result, detail, err := work()
	if err != nil {
		o.Observer.Ended(vmid, name, "failed", "")
		return err
	}
	o.Observer.Ended(vmid, name, result, detail)
	return nil
}

// isAttached says whether the guest has our mount.
func (o Options) isAttached(g driver.Guest) bool {
	want := o.mount(g.VMID)
	for _, m := range g.Mounts {
		if m.Source == want.Source && m.Target == want.Target && m.ReadOnly {
			return true
		}
	}
	return false
}

// WriteMount writes bootstrap.json of guest vmid: boot with the token.
func WriteMount(mounts configmount.Dir, boot contract.Bootstrap, minted guests.Minted, vmid int, root driver.IDs) (err error) {
	if boot.LocalAPIToken, err = contract.ParseSecret(minted.Token.Reveal()); err != nil {
		return err
	}
	data, err := boot.Encode()
	if err != nil {
		return fmt.Errorf("bootstrap.json of guest %d: %w", vmid, err)
	}
	return mounts.Put(vmid, root, configmount.BootstrapFile, data)
}
