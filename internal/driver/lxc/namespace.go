package lxc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs work on a thread of its own that ends with it: what work does
// to the thread's namespaces, nothing else of this process sees.
func onThread(work func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: Go ends the thread
		done <- work()
	}()
	return <-done
}

// inNamespace runs prepare and work in a new mount namespace, from which
// nothing gets back to this host's. Programs that work starts begin in it.
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

// prepareCgroups gives liblxc the unified hierarchy alone, as a PVE host has it:
// on a host with the older layout systemd 256 and later does not start in a guest.
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

// inGuest runs work in the mount namespace of a guest, seen from its root. work
// may make system calls on mounts and folders; it must start nothing. The user
// namespace stays this host's.
func inGuest(pid int, work func() error) (err error) {
	ns, err := os.Open(filepath.Join("/proc", fmt.Sprint(pid), "ns/mnt"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	return onThread(func() error {
		// The kernel lets a thread into another mount namespace only when it
		// shares its root and working folder with no other.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return work()
	})
}
