package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
)

// onThread runs work on its own thread, which ends with it, so that nothing
// else in this process sees the changes to the thread's namespaces. It is never
// the main thread, which Go does not end: /proc/self would show the changes.
func onThread(work func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: Go ends the thread
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(work) // on another thread, because this one is in use
			runtime.UnlockOSThread()
			return
		}
		done <- work()
	}()
	return <-done
}

// inNamespace runs prepare and work in a new mount namespace, whose mounts do
// not appear in this host's. Programs that work starts begin in it.
func inNamespace(prepare, work func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
			return &fs.PathError{Op: "make mounts private", Path: "/", Err: err}
		}
		if err := prepare(); err != nil {
			return err
		}
		return work()
	})
}

// prepareCgroups gives liblxc only the unified hierarchy, as on a PVE host: on a
// host with the older layout systemd 256 and later does not start in a guest.
func (d *Driver) prepareCgroups() error {
	dir := filepath.Join(d.o.SysDir, "fs/cgroup")
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return nil
	}
	if err := unix.Mount("cgroup2", dir, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return &fs.PathError{Op: "mount cgroup2", Path: dir, Err: err}
	}
	return nil
}

// inGuest runs work in the mount namespace of guest vmid, whose init is pid,
// seen from its root. work may make system calls on mounts and directories, and
// change the thread's working directory; it must start nothing. The user namespace
// stays this host's.
func (d *Driver) inGuest(ctx context.Context, vmid, pid int, work func() error) (err error) {
	ns, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns/mnt"))
	if errors.Is(err, fs.ErrNotExist) {
		return changing(vmid, "its init has ended")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	if err := d.checkNamespace(ctx, vmid, pid, ns); err != nil {
		return err
	}
	return onThread(func() error {
		// A thread may enter another mount namespace only if it shares its root
		// and working directory with no other thread.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		unix.Umask(0o022) // this thread's alone too: what work makes is the guest's
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return work()
	})
}

// checkNamespace returns an error unless ns is the guest's: its init may have
// ended since, and another process have its number; an init that is just
// starting is still in this host's namespace.
func (d *Driver) checkNamespace(ctx context.Context, vmid, pid int, ns *os.File) error {
	found, err := ns.Stat()
	if err != nil {
		return err
	}
	own, err := os.Stat("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	if os.SameFile(found, own) {
		return changing(vmid, fmt.Sprintf("process %d is in this host's mount namespace", pid))
	}
	state, now, err := d.info(ctx, vmid)
	if err != nil {
		return err
	}
	if state != stateRunning || now != pid {
		return changing(vmid, fmt.Sprintf("its init was process %d, now it is %s with %d", pid, state, now))
	}
	return nil
}

// changing returns the error of a guest that starts or ends during the call.
func changing(vmid int, found string) error {
	return driver.Fault(driver.ErrBusy, "try again when the guest has started or stopped", fmt.Errorf("guest %d: %w: %s", vmid, driver.ErrBusy, found))
}
