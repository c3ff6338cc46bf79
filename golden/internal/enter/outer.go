package enter

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// outer is the root of this machine while the program's own is built.
//
// In a user namespace, such as an unprivileged container, the kernel refuses with EPERM: device nodes always, and a new proc or
// sysfs unless one that can be seen in whole is mounted already. A container engine that hides parts of them (by mounts that cannot
// be undone) leaves none. So the old root stays mounted until the new one is complete, and where even that is not enough, the program
// gets what this machine has itself, with all that is hidden in it.
type outer struct {
	root *os.File // to look up from; a path that starts with / is in the new root
	seen bool     // /proc is this machine's, and shows its processes
}

// lackError says what this machine does not have.
type lackError struct {
	msg  string
	hint string
}

func (e *lackError) Error() string { return e.msg }

const machineHint = "build in a virtual machine, or in a container with the devices and the /proc that container engines make"

// hold opens / before another becomes /.
func (o *outer) hold() (err error) {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the old root: %w", err)
	}
	o.root = os.NewFile(uintptr(fd), "/")
	return nil
}

// leave unmounts this machine's root from the new one, where it is stacked on /.
func (o *outer) leave() error {
	if err := o.root.Close(); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil { // the current directory is / in pivot
		return fmt.Errorf("leave the old root: %w", err)
	}
	return unix.Chdir("/")
}

// bindProc mounts this machine's /proc on /proc. It is of an outer process namespace: /proc/self is right in it, the other names are
// those of another count.
func (o *outer) bindProc() error {
	if err := o.bind("proc", unix.PROC_SUPER_MAGIC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC); err != nil {
		return err
	}
	o.seen = true
	if _, err := os.Readlink("/proc/self"); err != nil {
		return &lackError{msg: fmt.Sprintf("the /proc of this machine does not show its own processes: %v", err), hint: machineHint}
	}
	return nil
}

// bindSys mounts this machine's /sys on /sys, where nothing can be written by it.
func (o *outer) bindSys() error {
	return o.bind("sys", unix.SYSFS_MAGIC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// bind mounts a directory of this machine, with all that is mounted in it, at the same place, with attributes.
func (o *outer) bind(name string, kind int64, attributes uint64) (err error) {
	fd, err := o.clone(name, unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	var is unix.Statfs_t
	if err := unix.Fstatfs(fd, &is); err != nil {
		return fmt.Errorf("look at the file system: %w", err)
	}
	if is.Type != kind {
		return &lackError{msg: fmt.Sprintf("the kernel mounts no new one here, and what this machine has at /%s is another file system", name), hint: machineHint}
	}
	if err := setAttributes(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attributes); err != nil {
		return err
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, "/"+name, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// bindDevice mounts this machine's device of that name and number in the new /dev.
func (o *outer) bindDevice(name string, number uint64) (err error) {
	fd, err := o.clone("dev/"+name, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		return err
	}
	if is.Mode&unix.S_IFMT != unix.S_IFCHR || is.Rdev != number {
		return &lackError{
			msg:  fmt.Sprintf("/dev/%s of this machine: want the character device %d:%d", name, unix.Major(number), unix.Minor(number)),
			hint: machineHint,
		}
	}
	target := "/dev/" + name
	f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// clone returns a mount of what this machine has by that name, which is nowhere yet.
func (o *outer) clone(name string, flags uint) (fd int, err error) {
	fd, err = unix.OpenTree(int(o.root.Fd()), name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW|flags)
	if errors.Is(err, unix.ENOENT) {
		return -1, &lackError{msg: fmt.Sprintf("this machine has no /%s", name), hint: machineHint}
	}
	if err != nil {
		return -1, fmt.Errorf("take that of this machine: %w", err)
	}
	return fd, nil
}

// setAttributes adds attributes to a mount; those that it has stay, as a container cannot take them away.
func setAttributes(dir int, path string, flags uint, attributes uint64) error {
	if err := unix.MountSetattr(dir, path, flags, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return fmt.Errorf("restrict the mount: %w", err)
	}
	return nil
}
