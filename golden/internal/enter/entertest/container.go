package entertest

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// RunContained runs cmd, which is not started yet, as root of an unprivileged container that has this machine's files and network.
// Root makes no device there. In one that is masked, parts of /proc and /sys are hidden, as by many container engines: the
// kernel then mounts no new proc, and no sysfs. Its ids are those of this machine, so that it may read what a test makes.
func RunContained(cmd *exec.Cmd, masked bool) error {
	done := make(chan error, 1)
	go func() { done <- runContained(cmd, masked) }()
	return <-done
}

func runContained(cmd *exec.Cmd, masked bool) error {
	// A thread with mounts of its own, which ends with its goroutine. The first one does not end: it stays locked until another has done it.
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		return RunContained(cmd, masked)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mounts of a container: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of a container: %w", err)
	}
	if masked {
		for _, path := range []string{"/proc/fs", "/sys/kernel"} {
			if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY, ""); err != nil {
				return fmt.Errorf("hide %s: %w", path, err)
			}
		}
	}
	if cmd.SysProcAttr != nil {
		return errors.New("want a command without attributes")
	}
	ids := []syscall.SysProcIDMap{{Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Pdeathsig: syscall.SIGKILL, // of this thread
	}
	return cmd.Run()
}
