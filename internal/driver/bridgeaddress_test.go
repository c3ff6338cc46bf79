package driver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// TestTakesGuestAddress has the kinds of ports that not every kernel can make; those of
// the kernel are in the tests of felhom-agentd doctor.
func TestTakesGuestAddress(t *testing.T) {
	const bridge = "bridge/ brif/ addr_assign_type=1 address=x ifindex=2 iflink=2"
	for _, c := range []struct {
		name string
		dev  map[string]string
		port string
		want bool
	}{
		{"a set address", map[string]string{"br0": "bridge/ brif/ addr_assign_type=3"}, "", false},
		{"a kernel that does not say", map[string]string{"br0": "bridge/"}, "", false},
		{"an Open vSwitch bridge", map[string]string{"br0": "addr_assign_type=1"}, "", false},
		{"no interface", nil, "", false},
		{"no port", map[string]string{"br0": bridge}, "", true},
		{"a card", map[string]string{"br0": bridge, "eno1": "device/ address=90:00:00:00:00:01 ifindex=3 iflink=3"}, "", false},
		{"a card and a guest above it", map[string]string{"br0": bridge, "eno1": "device/ address=90:00:00:00:00:01 ifindex=3 iflink=3", "veth8200i0": "address=fe:00:00:00:00:01 ifindex=9 iflink=2"}, "", false},
		{"a card and a guest below it", map[string]string{"br0": bridge, "eno1": "device/ address=90:00:00:00:00:01 ifindex=3 iflink=3", "veth8200i0": "address=8e:00:00:00:00:01 ifindex=9 iflink=2"}, "veth8200i0", true},
		{"a container's card", map[string]string{"br0": bridge, "eth0": "lower_eno1/ address=90:00:00:00:00:01 ifindex=3 iflink=7"}, "", false},
		{"a VLAN of a card", map[string]string{"br0": bridge, "eno1.7": "lower_eno1/ uevent=DEVTYPE=vlan address=90:00:00:00:00:01 ifindex=4 iflink=3"}, "", false},
		{"a bond", map[string]string{"br0": bridge, "bond0": "uevent=DEVTYPE=bond address=90:00:00:00:00:01 ifindex=4 iflink=4"}, "", false},
		{"a tunnel", map[string]string{"br0": bridge, "vxlan0": "uevent=DEVTYPE=vxlan address=90:00:00:00:00:01 ifindex=4 iflink=0"}, "", false},
		{"a tunnel of Ethernet over GRE", map[string]string{"br0": bridge, "gre1": "address=90:00:00:00:00:01 ifindex=4 iflink=0"}, "", false},
		{"a virtual machine", map[string]string{"br0": bridge, "tap8201i0": "tun_flags=0x1 address=fe:00:00:00:00:01 ifindex=4 iflink=4"}, "tap8201i0", true},
		{"two guests", map[string]string{"br0": bridge, "veth1": "address=fe:00:00:00:00:02 ifindex=4 iflink=2", "veth2": "address=fe:00:00:00:00:01 ifindex=5 iflink=2"}, "veth2", true},
		{"a pair to another bridge", map[string]string{"br0": bridge, "up0": "address=52:00:00:00:00:01 ifindex=4 iflink=5", "-up1": "address=52:00:00:00:00:02 ifindex=5 iflink=4"}, "", false},
		{"PVE's firewall of a guest", map[string]string{"br0": bridge, "fwpr8200p0": "address=52:00:00:00:00:01 ifindex=4 iflink=5", "-fwln8200i0": "address=52:00:00:00:00:02 ifindex=5 iflink=4"}, "fwpr8200p0", true},
	} {
		dir := t.TempDir()
		for name, text := range c.dev {
			interfaceName, isElsewhere := strings.CutPrefix(name, "-")
			write(t, dir, interfaceName, text)
			if name != "br0" && !isElsewhere {
				write(t, dir, "br0/brif", name+"/")
			}
		}
		if port, got := driver.TakesGuestAddress(dir, "br0"); got != c.want || port != c.port {
			t.Errorf("%s: got %t with port %q, want %t with %q", c.name, got, port, c.want, c.port)
		}
	}
}

// write makes the directory of an interface: "a/" is a directory, and "a=b" a file.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	dir = filepath.Join(dir, name)
	err := os.MkdirAll(dir, 0o755)
	for item := range strings.FieldsSeq(text) {
		if err != nil {
			break
		}
		key, value, isFile := strings.Cut(item, "=")
		if !isFile {
			err = os.MkdirAll(filepath.Join(dir, key), 0o755)
			continue
		}
		err = os.WriteFile(filepath.Join(dir, key), []byte(value+"\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
