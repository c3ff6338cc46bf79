package driver

import (
	"os"
	"path/filepath"
	"strings"
)

// addressSet is the kernel's NET_ADDR_SET: a program gave the interface its address.
const addressSet = "3"

// TakesGuestAddress reports whether the Linux bridge name below dir, which is
// /sys/class/net except in tests, has the MAC address of a guest's port, or takes that of
// the next guest: no program has set its address, and then the kernel gives it the
// lowest of its ports. The address changes when the guest of that port stops. Port is
// the guest's port that gives it now, and empty if no guest's port does.
func TakesGuestAddress(dir, name string) (port string, takes bool) {
	bridge := filepath.Join(dir, name)
	ports, err := os.ReadDir(filepath.Join(bridge, "brif"))
	if origin := attribute(bridge, "addr_assign_type"); err != nil || origin == "" || origin == addressSet {
		return "", false
	}
	var ofGuest, ofHost string
	for _, p := range ports {
		address := attribute(filepath.Join(dir, p.Name()), "address")
		isGuests := isGuestPort(dir, p.Name())
		if isGuests && (port == "" || address < ofGuest) {
			ofGuest, port = address, p.Name()
		}
		if !isGuests && (ofHost == "" || address < ofHost) {
			ofHost = address
		}
	}
	if ofHost != "" && (port == "" || ofHost <= ofGuest) {
		return "", false
	}
	return port, true
}

// isGuestPort reports whether a bridge's port comes and goes with a guest: the tap of a
// virtual machine, the outer end of a container's pair, or of PVE's firewall before one.
// A pair with both ends on this host connects two bridges for good.
func isGuestPort(dir, name string) bool {
	port := filepath.Join(dir, name)
	if _, err := os.Stat(filepath.Join(port, "tun_flags")); err == nil {
		return true
	}
	index, peer := attribute(port, "ifindex"), attribute(port, "iflink")
	if index == peer || peer == "0" || isStacked(port) { // a tunnel that is bound to no interface has 0
		return false
	}
	return strings.HasPrefix(name, "fwpr") || !hasPeer(dir, index, peer)
}

// isStacked reports whether the interface is a network card, or made from one, such as a
// VLAN's: those have the card's index as a pair has its peer's.
func isStacked(port string) bool {
	if _, err := os.Stat(filepath.Join(port, "device")); err == nil {
		return true
	}
	lower, err := filepath.Glob(filepath.Join(port, "lower_*"))
	return err == nil && len(lower) > 0 || strings.Contains(attribute(port, "uevent"), "DEVTYPE=")
}

// hasPeer reports whether an interface of this network namespace is the other end.
func hasPeer(dir, index, peer string) bool {
	all, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, i := range all {
		other := filepath.Join(dir, i.Name())
		if attribute(other, "ifindex") == peer && attribute(other, "iflink") == index {
			return true
		}
	}
	return false
}

// attribute returns a value of an interface without the end of its line, and nothing if it
// cannot be read.
func attribute(dir, name string) string {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
