package driver

import (
	"context"
	"time"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// State is what a guest does now.
type State string

// The states.
const (
	Running State = "running"
	Stopped State = "stopped"
)

// IDs are a user and a group of this host.
type IDs struct{ UID, GID int }

// Net is a guest's first network interface, eth0. In a Spec it is what the
// archive's is changed to, by its method With; Restore always draws a fresh MAC.
type Net = pctconf.Net

// Interface is one network interface of a guest, as this host sees it.
type Interface struct {
	Net
	// Ports are the names that the interface's port of the bridge can have.
	// No other guest of this host can have one of them.
	Ports []string
}

// Spec says what becomes of an archive. A zero field means: as the
// archive's own configuration says.
type Spec struct {
	Archive     string // absolute path of a vzdump archive; for PVE also a volume ID such as local:backup/vzdump-lxc-….tar.zst
	Hostname    string
	Description string
	Storage     string // PVE: where the root file system goes
	RootfsGiB   int
	Cores       int
	MemoryMiB   int
	SwapMiB     *int
	OnBoot      *bool
	Nameserver  string // addresses, with blanks between them
	Net         Net    // Bridge "" leaves the archive's interface, with a fresh MAC
}

// Guest is what the hypervisor knows of a guest.
type Guest struct {
	VMID        int
	State       State
	Partial     bool   // an interrupted Restore left it; Discard removes it
	Lock        string // the hypervisor's word for who holds it; "" for no task
	Hostname    string
	Description string
	Net         Net
	Mounts      []Mount // host directories only, in the order of the configuration
	Root        IDs     // of the guest's root, on this host
	OnBoot      bool
}

// Status is what a guest does now.
type Status struct {
	State State
	// Console are the last lines that the guest wrote to its console since its
	// last start, oldest first, as [ConsoleLines] gives them: safe to print. It
	// is empty where the hypervisor keeps no console.
	Console []string
	// ConsoleFile is where this host keeps all of it; "" if it does not.
	ConsoleFile string
}

// Progress is told how many bytes of the archive were read; total is 0 where
// it is not known. It must not block.
type Progress func(done, total int64)

// Hypervisor restores, starts and removes guests. Nothing in it executes
// anything inside a guest. Methods are safe for concurrent use on different
// guests. After a change an adapter reads back what became of it: a nil error
// means that the change is there, whatever a program's exit status said.
type Hypervisor interface {
	Storage

	// Check finds what would make Restore or Start fail, without changing
	// anything: all findings at once, joined, each with its own hint. A taken VMID
	// is not a finding. Without an archive the rest is checked.
	Check(ctx context.Context, vmid int, s Spec) error

	// Warnings returns what may become a fault of this host with one more
	// guest, though nothing is wrong now: a sentence each, with what to do.
	Warnings(ctx context.Context, s Spec) ([]string, error)

	// Networks returns the first interface of every guest whose configuration
	// this host has and can read, by VMID.
	Networks(ctx context.Context) (map[int]Net, error)

	// Interfaces returns all interfaces of guest vmid as its configuration on
	// this host says, in their order, or ErrNotFound. It reads one small file
	// and starts no program: requests of guests wait for it.
	Interfaces(ctx context.Context, vmid int) ([]Interface, error)

	// ArchiveConfig returns the archive's pct.conf. ErrArchive where it has none.
	ArchiveConfig(ctx context.Context, archive string) ([]byte, error)

	// Guest returns guest vmid as it is now, or ErrNotFound.
	Guest(ctx context.Context, vmid int) (Guest, error)

	// Status returns what guest vmid does now and the last that it wrote to its
	// console, or ErrNotFound. It is made to be asked every second or so while
	// a command waits for the guest: a guest that died is Stopped.
	Status(ctx context.Context, vmid int) (Status, error)

	// Restore makes stopped guest vmid. ErrExists if one exists, also a
	// partial one. It never overwrites. On any error but a killed process nothing
	// of the guest is left. p may be nil. PVE: p hears of 0 bytes after the
	// storage was found to have no disk of vmid, and before there is one.
	Restore(ctx context.Context, vmid int, s Spec, p Progress) error

	// Discard removes what an interrupted Restore left. Nothing left is nil; a
	// whole guest is ErrExists, one that a living task still works on ErrBusy.
	// PVE: storage is the one that had no disk of vmid when that Restore began;
	// all that are there now are removed. "" leaves those alone that the guest's
	// configuration does not name.
	Discard(ctx context.Context, vmid int, storage string) error

	// Attach makes m one of the guest's mounts; at once where the guest runs.
	// It is safe to repeat. Another source at the same target of a running
	// guest is ErrPending, and nothing changes.
	Attach(ctx context.Context, vmid int, m Mount) error

	// Detach ends the mount at target, at once where the guest runs and the
	// hypervisor can; ErrPending where it will end with the guest's next stop.
	// A mount that is not there is nil.
	Detach(ctx context.Context, vmid int, target string) error

	// Start returns when the guest's init runs; ErrRunning where it does already.
	Start(ctx context.Context, vmid int) error

	// Shutdown asks the guest's init to end and waits up to grace, then stops
	// it hard. ErrNotRunning where it does not run.
	Shutdown(ctx context.Context, vmid int, grace time.Duration) error

	// Destroy removes a stopped guest with its disks; host directories that were
	// mounted stay. ErrRunning where it runs.
	Destroy(ctx context.Context, vmid int) error
}
