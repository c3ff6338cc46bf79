// Package provision makes a guest from a golden image, waits until its
// controller is up, and can undo that: check, token, mount, restore, attach,
// start, report. Call [New] first, then a method of the [Provisioner].
//
// It uses interfaces and not Proxmox VE itself, and prints nothing. It writes a
// journal before the first change and removes it after the last one: whatever
// ends the process, the next run finds the journal and finishes the guest, or
// undoes what was done. A guest that felhom-agentd made has an ID in its
// description, so that no other guest with the same VMID is ever changed.
package provision

import (
	"cmp"
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
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

// Observer follows a job. One goroutine calls its methods.
type Observer interface {
	Started(vmid int, step Step)
	Bytes(vmid int, step Step, done, total int64) // of the archive
	Note(vmid int, step Step, text string)
	Ended(vmid int, step Step, r StepResult)
}

// StepResult is how a step ended.
type StepResult struct {
	Word   string // "done", "unchanged", "skipped", "failed"; "" is done
	Detail string // "" if there is nothing to say
}

// Done is the result of a step that did its work.
const Done = "done"

// Store keeps the records of guests. *guests.Store implements it.
type Store interface {
	Get(vmid int) (guests.Record, error)
	Mint(ctx context.Context, vmid, idMapBase int, overlap time.Duration) (guests.Minted, error)
	Update(ctx context.Context, vmid int, change func(*guests.Record) error) error
	Revoke(ctx context.Context, vmid int) (ended int, err error)
	Replace(ctx context.Context, vmid int, old *guests.Record) error
	Authenticate(tok token.Token) (guests.Match, error)
	PutSecrets(vmid int, variables map[string]string) (name string, err error)
	Secrets(name string) (map[string]string, error)
	SweepSecrets(vmid int) error
	RemoveReports(vmid int) error
	Progress(vmid int) (guests.Progress, error)
	List() ([]guests.Record, map[string]error, error)
}

// Options configure [New].
type Options struct {
	Hypervisor driver.Hypervisor
	// HasHypervisor reports whether the configuration names the hypervisor:
	// without it another program may have made the guests, and Register does not
	// ask the hypervisor.
	HasHypervisor bool
	Root          driver.IDs // of the guests that the hypervisor is not asked about
	Store         Store
	Mounts        Mounts
	StateDir      string        // of the journals and locks
	Overlap       time.Duration // how long a replaced token stays valid
	ExpireAfter   time.Duration // the age at which a token ends that a change has replaced, see [guests.Record.OverlapOf]
	// IsLookOnly is of a host whose local API has no address now: the endpoint and
	// the pins of Bootstrap are placeholders. Check leaves findings about them out,
	// and nothing else may be called.
	IsLookOnly bool
	// Bootstrap makes all of a guest's bootstrap.json but the token.
	Bootstrap func(vmid int, asked Asked) (contract.Bootstrap, error)
	// Certificates are the local API's, current and next, in PEM.
	Certificates []byte
	Observer     Observer
	Now          func() time.Time
	Poll         time.Duration // between two looks at the guest's reports
	// BridgeAddresses returns the addresses that this host has on a bridge; nil
	// looks at none.
	BridgeAddresses func(bridge string) ([]netip.Addr, error)
	// IsElsewhere reports whether another node that has the same Store has the
	// guest. Nil: no other node has this Store.
	IsElsewhere func(vmid int) bool
	// Clone is CloneNever, CloneAuto or CloneAlways; "" is CloneNever.
	Clone CloneMode
	// TemplateVMIDs are those that templates can get.
	TemplateVMIDs Range
	// Golden is the archive that new guests of this host are made from, "" if
	// there is none: templates of others are removed when no guest uses them.
	Golden string
	// Resolver is the resolv.conf that a guest without name servers of its own
	// gets from the hypervisor; "": none.
	Resolver string
}

// Mounts are the guests' config mounts. [configmount.Dir] implements it.
type Mounts interface {
	Path(vmid int) string
	Exists(vmid int) bool
	Read(vmid int, name string, limit int64) ([]byte, error)
	Put(vmid int, root driver.IDs, name string, data []byte) error
	Remove(vmid int) error
	RemoveFile(vmid int, name string) error
}

// Provisioner makes, serves and removes the guests of one host. Its methods are
// safe for concurrent use, also by several processes: each claims its guest.
type Provisioner struct {
	options  Options
	journals journals
}

// New returns the Provisioner of a host. It changes nothing.
func New(o Options) *Provisioner {
	return &Provisioner{options: o, journals: journalsIn(o.StateDir)}
}

// Asked is what is asked for one guest in place of the configuration. Zero
// values are not asked for.
type Asked struct {
	Image     string // of the controller
	Profile   contract.Profile
	ReadyWait time.Duration
	Container *contract.Container
	// Repositories are what the guest may pull through the registry proxy beside
	// what all may. Of a job: nil does not ask, an empty list ends those before.
	Repositories []string
	// Secrets are variables of the container that are kept in a file of their own
	// and never shown. Those of Container win.
	Secrets map[string]string
}

// Job is one guest to make.
type Job struct {
	VMID int
	Spec driver.Spec // with the configuration's defaults
	// Given is Spec without the defaults: what an existing guest must match. nil:
	// there are none.
	Given *driver.Spec
	Asked
	// IsWhole reports whether the container's settings replace the earlier ones,
	// as those of a specification do; false: they are merged over the earlier
	// ones, as flags are.
	IsWhole bool
	Start   bool
	// IsChange is of a job that changes a guest: one must exist, and it may be one
	// that only Register made known. All waits for it if it runs.
	IsChange bool
}

func (j Job) given() driver.Spec {
	if j.Given == nil {
		return j.Spec
	}
	return *j.Given
}

// Outcome is the result of a job.
type Outcome string

// The outcomes.
const (
	Provisioned Outcome = "provisioned" // made by this run
	Finished    Outcome = "finished"    // started by an earlier run, finished by this one
	Unchanged   Outcome = "unchanged"   // already existed as asked for
	Started     Outcome = "started"     // already existed, and runs again
	Updated     Outcome = "updated"     // already existed, and has a new bootstrap.json
)

// marker starts the line of the description of each guest that provision made.
const marker = "felhom-agentd: provision "

// describe puts the guest's ID into its description, in place of any other: an
// archive may be a backup of a guest that provision made.
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

// IDOf returns the ID that provision wrote into a guest's description, "" if it has none.
func IDOf(description string) string {
	for line := range strings.SplitSeq(description, "\n") {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), marker); ok {
			return id
		}
	}
	return ""
}

func (p *Provisioner) mount(vmid int) driver.Mount {
	return driver.Mount{Source: p.options.Mounts.Path(vmid), Target: configmount.Target, ReadOnly: true}
}

// step runs one step between Started and Ended.
func (p *Provisioner) step(vmid int, name Step, work func() (StepResult, error)) error {
	p.options.Observer.Started(vmid, name)
	r, err := work()
	if err != nil {
		r = StepResult{Word: "failed"}
	}
	r.Word = cmp.Or(r.Word, Done)
	p.options.Observer.Ended(vmid, name, r)
	return err
}

// isAttached reports whether the guest has its config mount.
func (p *Provisioner) isAttached(g driver.Guest) bool {
	want := p.mount(g.VMID)
	for _, m := range g.Mounts {
		if m.Source == want.Source && m.Target == want.Target && m.ReadOnly {
			return true
		}
	}
	return false
}
