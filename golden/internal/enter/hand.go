package enter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noHand is the descriptor of no directory.
const noHand = -1

// pickHand makes a mount of the directory to hand in that is nowhere yet, while it can still be named.
func (m *machine) pickHand() (fd int, err error) {
	if m.ord.Hand == "" {
		return noHand, nil
	}
	fd, err = unix.OpenTree(unix.AT_FDCWD, m.ord.Hand, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return noHand, fmt.Errorf("hand in %s: %w", m.ord.Hand, err)
	}
	return fd, nil
}

// layHand puts what [machine.pickHand] returned in its place, where nothing can be written by it.
func layHand(fd int) (err error) {
	if fd == noHand {
		return nil
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := os.Mkdir(HandDir, 0o755); err != nil {
		return fmt.Errorf("hand in a directory: %w", err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, HandDir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("hand in a directory: %w", err)
	}
	var now unix.Statfs_t
	if err := unix.Statfs(HandDir, &now); err != nil {
		return fmt.Errorf("hand in a directory: %w", err)
	}
	keep := uintptr(now.Flags) & unix.MS_NOEXEC // ST_NOEXEC has the same number; a container may not take it away
	if err := unix.Mount("", HandDir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|keep, ""); err != nil {
		return fmt.Errorf("hand in a directory read-only: %w", err)
	}
	return nil
}

// architectures are the kernel's numbers of the architectures that an image can have.
var architectures = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// ignoreSync has the kernel answer each call that waits for the disk with success at once, for this thread and
// all that it starts. A call by another architecture's numbers is carried out.
func ignoreSync() error {
	arch, known := architectures[runtime.GOARCH]
	if !known {
		return nil // slower, and the same in all else
	}
	calls := []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_MSYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE}
	const (
		load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		atCall, atArch   = 0, 4 // in seccomp_data
	)
	n := uint8(len(calls))
	filter := []unix.SockFilter{
		{Code: load, K: atArch},
		{Code: equal, K: arch, Jf: n + 1}, // to "allow"
		{Code: load, K: atCall},
	}
	for i, call := range calls {
		filter = append(filter, unix.SockFilter{Code: equal, K: call, Jt: n - uint8(i)}) // to "errno 0"
	}
	filter = append(filter,
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO}, // with the number 0, which is success
	)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0); err != nil {
		return fmt.Errorf("ignore fsync: %w", err)
	}
	runtime.KeepAlive(filter)
	return nil
}
