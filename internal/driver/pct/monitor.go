package pct

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
)

// askInit is LXC's command for the process of a guest's init, in the numbering
// that all versions of LXC have: what lxc-info and PVE itself send.
const askInit = 4

// monitorLimit bounds the wait for a monitor, which answers from its memory.
const monitorLimit = 2 * time.Second

// message is a request to LXC's monitor and its answer: a command or a result, a
// length of data that follows, and a pointer that carries small values.
const messageSize = 4 + 4 + 8

// initOf asks the monitor of a running guest, which is LXC's own process on this
// host, for the process of the guest's init. It starts no program.
func (d *Driver) initOf(ctx context.Context, vmid int) (pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, monitorLimit)
	defer cancel()
	name := "@" + filepath.Join(d.o.LXCDir, strconv.Itoa(vmid), "command")
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", name)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 0, driver.Faultf(driver.ErrNotRunning, "", "nothing listens at %s", name)
	}
	if err != nil {
		return 0, fmt.Errorf("monitor of guest %d: %w", vmid, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("monitor of guest %d: got a connection of type %T", vmid, conn)
	}
	if err := checkPeer(unixConn); err != nil {
		return 0, fmt.Errorf("monitor of guest %d: %w", vmid, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	request := make([]byte, messageSize)
	binary.NativeEndian.PutUint32(request, askInit)
	who := unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}) //nolint:gosec // ids of this process
	if _, _, err := unixConn.WriteMsgUnix(request, who, nil); err != nil {
		return 0, fmt.Errorf("monitor of guest %d: %w", vmid, err)
	}
	answer := make([]byte, messageSize)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return 0, fmt.Errorf("monitor of guest %d: %w", vmid, err)
	}
	result := int32(binary.NativeEndian.Uint32(answer)) //nolint:gosec // C's int
	value := binary.NativeEndian.Uint64(answer[8:])
	if result < 0 || value == 0 || value > 1<<22 { // the largest number of a process
		return 0, fmt.Errorf("monitor of guest %d: it answers %d, %d", vmid, result, int64(value)) //nolint:gosec // as C prints it
	}
	return int(value), nil
}

// checkPeer returns an error unless root made the socket: when a guest is stopped,
// any user of the host can take the name of its monitor.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, peerErr); err != nil {
		return err
	}
	if peer.Uid != 0 {
		return fmt.Errorf("user %d listens in its place", peer.Uid)
	}
	return nil
}
