package origin

import (
	"errors"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// events are the kernel's messages of changes of its tables.
type events struct {
	file *os.File
	raw  syscall.RawConn
	buf  [64 << 10]byte
}

// eventGroups are what a look depends on: links with the ports and VLANs of
// bridges, neighbours with the tables of bridges, addresses and routes.
var eventGroups = []int{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
}

// eventBuffer is asked for; without rights the kernel gives net.core.rmem_max.
const eventBuffer = 4 << 20

// eventsAtOnce bounds how many messages that others caused one request reads.
const eventsAtOnce = 64

func openEvents() (_ *events, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	e := &events{file: os.NewFile(uintptr(fd), "rtnetlink")}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	for _, group := range eventGroups {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
	}
	if err == nil {
		e.raw, err = e.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, e.file.Close())
	}
	return e, nil
}

func (e *events) close() error { return e.file.Close() }

// wait calls work whenever there may be something to read, until close.
func (e *events) wait(work func()) {
	// The error is that of the closed socket.
	_ = e.raw.Read(func(uintptr) bool {
		work()
		return false
	})
}

// read gives what the kernel has noted to apply, and reports whether that was all.
func (e *events) read(apply func(change)) (isAll bool) {
	err := e.raw.Control(func(fd uintptr) { isAll = e.drain(int(fd), apply) })
	if err != nil { // closed
		apply(change{})
	}
	return isAll && err == nil
}

func (e *events) drain(fd int, apply func(change)) (isAll bool) {
	for range eventsAtOnce {
		n, from, err := unix.Recvfrom(fd, e.buf[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return true
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil, n > len(e.buf): // ENOBUFS: messages were lost
			apply(change{})
			continue
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 { // not the kernel
			continue
		}
		messages, err := syscall.ParseNetlinkMessage(e.buf[:n])
		if err != nil {
			apply(change{})
		}
		for _, m := range messages {
			if c, ok := changeOf(m); ok {
				apply(c)
			}
		}
	}
	return false
}

// changeOf returns the change that a message reports; ok is false for a message
// without one.
func changeOf(m syscall.NetlinkMessage) (c change, ok bool) {
	if m.Header.Type != unix.RTM_NEWNEIGH && m.Header.Type != unix.RTM_DELNEIGH {
		return change{}, true
	}
	if len(m.Data) < (&netlink.Ndmsg{}).Len() {
		return change{}, true
	}
	n, err := netlink.NeighDeserialize(m.Data)
	if err != nil {
		return change{}, true
	}
	isThere := m.Header.Type == unix.RTM_NEWNEIGH
	if n.Family == unix.AF_BRIDGE {
		c.station = station{bridge: n.MasterIndex, vlan: n.Vlan, mac: hardwareOf(n.HardwareAddr)}
		if isThere {
			c.port = n.LinkIndex
		}
		return c, n.MasterIndex != 0
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return change{}, false
	}
	c.neighbor = neighbor{n.LinkIndex, addr}
	const invalid = netlink.NUD_FAILED | netlink.NUD_INCOMPLETE
	if isThere && n.State&invalid == 0 {
		c.mac = hardwareOf(n.HardwareAddr)
	}
	return c, n.LinkIndex != 0
}
