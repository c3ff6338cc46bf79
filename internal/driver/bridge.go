package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// netClass is where the kernel lists interfaces.
const netClass = "/sys/class/net"

// openVSwitch is the kernel's name for an Open vSwitch bridge: the driver of
// the interface, and its DEVTYPE.
const openVSwitch = "openvswitch"

// FindBridge returns nil if the interface name below dir, which is
// /sys/class/net except in tests, is a bridge for guests: one of Linux, or of
// Open vSwitch. Otherwise the error is ErrNoBridge.
func FindBridge(dir, name string) error {
	if name == "" || name == "." || strings.ContainsAny(name, "/\x00") || strings.Contains(name, "..") {
		return fmt.Errorf("%w: %q is not the name of an interface", ErrNoBridge, name)
	}
	switch _, err := os.Stat(filepath.Join(dir, name)); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %q", ErrNoBridge, name)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNoBridge, err)
	}
	if info, err := os.Stat(filepath.Join(dir, name, "bridge")); err == nil && info.IsDir() {
		return nil
	}
	if isOpenVSwitch(dir, name) {
		return nil
	}
	return fmt.Errorf("%w: the interface %q exists and is not a bridge", ErrNoBridge, name)
}

func isOpenVSwitch(dir, name string) bool {
	event, err := os.ReadFile(filepath.Join(dir, name, "uevent"))
	if err == nil && slices.ContainsFunc(bytes.Split(event, []byte("\n")), func(line []byte) bool { return string(line) == "DEVTYPE="+openVSwitch }) {
		return true
	}
	if dir != netClass {
		return false
	}
	// Not every kernel gives it a DEVTYPE.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written to it
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	return err == nil && unix.ByteSliceToString(info.Driver[:]) == openVSwitch
}
