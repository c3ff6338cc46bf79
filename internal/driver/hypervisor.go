package driver

import (
	"context"
	"time"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// State is the state of a guest.
type State string

// The states.
const (
	Running State = "running"
	Stopped State = "stopped"
)

// IDs are a user and a group of this host.
type IDs struct{ UID, GID int }

// Net is a guest's first network interface, eth0. In a Spec it overrides the
// archive's, by its method With; Restore always draws a fresh MAC.
type Net = pctconf.Net

// Interface is one network interface of a guest, as this host sees it.
type Interface struct {
	Net
	// Ports are the names that the interface's port of the bridge can have.
	// No other guest of this host can have one of them.
	Ports []string
}

// Spec is the guest to restore from an archive. A zero field keeps the value of
// the archive's configuration.
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

// Guest is what the hypervisor knows about a guest.
type Guest struct {
	VMID        int
	State       State
	Partial     bool   // an interrupted Restore left it; Discard removes it
	Lock        string // the hypervisor's lock; "" if no task holds the guest
	Hostname    string
	Description string
	Net         Net
	Mounts      []Mount // host directories only, in the order of the configuration
	Root        IDs     // of the guest's root, on this host
	OnBoot      bool
}

// Status is the state and the console of a guest.
type Status struct {
	State State
	// Console are the last lines that the guest wrote to its console since its
	// last start, oldest first, as [ConsoleLines] gives them: safe to print. It
	// is empty if the hypervisor keeps no console.
	Console []string
	// ConsoleFile is the file with the whole console; "" if there is none.
	ConsoleFile string
}

// Progress gets the number of bytes of the archive that were read; total is 0
// if it is not known. It must not block. A driver may call it in another goroutine,
// but never twice at the same time, and not after its method has returned.
type Progress func(done, total int64)

// Hypervisor restores, starts and removes guests. Nothing in it executes
// anything inside a guest. Methods are safe for concurrent use on different
// guests. After a change a driver reads back the result: a nil error means that
// the change was made, whatever a program's exit status was.
type Hypervisor interface {
	Storage

	// Check finds what would make Restore or Start fail, without changing
	// anything: all findings at once, joined, each with its own hint. A taken VMID
	// is not a finding. Without an archive the rest is checked.
	Check(ctx context.Context, vmid int, s Spec) error

	// Warnings returns what may become a fault of this host with one more
	// guest, though nothing is wrong now: one sentence for each, with what to
	// do.
	Warnings(ctx context.Context, s Spec) ([]string, error)

	// Networks returns the first interface of every guest whose configuration
	// this host has and can read, by VMID. Templates, which never run, are not
	// among them.
	Networks(ctx context.Context) (map[int]Net, error)

	// Interfaces returns all interfaces of guest vmid as its configuration on
	// this host says, in their order, or ErrNotFound. It reads one small file
	// and starts no program: requests of guests wait for it.
	Interfaces(ctx context.Context, vmid int) ([]Interface, error)

	// ArchiveConfig returns the archive's pct.conf. It returns ErrArchive if
	// there is none.
	ArchiveConfig(ctx context.Context, archive string) ([]byte, error)

	// Guest returns guest vmid as it is now, or ErrNotFound.
	Guest(ctx context.Context, vmid int) (Guest, error)

	// Status returns the state of guest vmid and the end of its console, or
	// ErrNotFound. A command that waits for the guest calls it about every
	// second: a guest that died is Stopped.
	Status(ctx context.Context, vmid int) (Status, error)

	// Restore makes guest vmid, stopped. It returns ErrExists if one exists, also
	// a partial one, and never overwrites. On any error but a killed process
	// nothing of the guest is left. p may be nil. PVE: p hears of 0 bytes after
	// the storage was found to have no disk of vmid, and before there is one.
	Restore(ctx context.Context, vmid int, s Spec, p Progress) error

	// Discard removes what an interrupted Restore left. It returns nil if
	// nothing is left, ErrExists for a complete guest, and ErrBusy if a running
	// task works on it. PVE: storage is the one that had no disk of vmid when
	// that Restore began; all its disks of vmid are removed. With "", disks that
	// the guest's configuration does not name stay.
	Discard(ctx context.Context, vmid int, storage string) error

	// Attach makes m one of the guest's mounts, at once if the guest runs. It
	// is safe to repeat. If a running guest has another source at the same
	// target, it returns ErrPending and changes nothing.
	Attach(ctx context.Context, vmid int, m Mount) error

	// Detach ends the mount at target, at once if the guest runs and the
	// hypervisor can; it returns ErrPending if the mount ends with the guest's
	// next stop, and nil if there is no such mount.
	Detach(ctx context.Context, vmid int, target string) error

	// Start returns when the guest's init runs; it returns ErrRunning if the
	// guest runs already.
	Start(ctx context.Context, vmid int) error

	// Shutdown asks the guest's init to end and waits up to grace, then kills
	// it. It returns ErrNotRunning if the guest does not run.
	Shutdown(ctx context.Context, vmid int, grace time.Duration) error

	// Destroy removes a stopped guest with its disks; mounted directories of the
	// host stay. It returns ErrRunning if the guest runs.
	Destroy(ctx context.Context, vmid int) error
}
