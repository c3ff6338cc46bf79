package driver

import (
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// GuestOf returns guest vmid as its configuration describes it, without its
// state and the ids of its root. The error names the lines that cannot be read;
// the rest of the guest is valid also then.
func GuestOf(vmid int, c *pctconf.Config) (g Guest, err error) {
	g = Guest{VMID: vmid, Description: c.Description}
	g.Hostname, _ = c.Get("hostname")
	g.OnBoot, _ = c.Bool("onboot")
	g.Lock, _ = c.Get("lock")
	g.Net, _, err = c.Net(0)
	for _, p := range c.Mounts() {
		err = errors.Join(err, p.Err)
		if p.IsDirectory() {
			g.Mounts = append(g.Mounts, p.Mount)
		}
	}
	return g, err
}

// maxInterfaces is how many interfaces PVE gives a guest: net0 to net31.
const maxInterfaces = 32

// PortName returns the name of the port of interface netN of guest vmid, as
// PVE and [github.com/felhom/felhom-golden/internal/driver/lxc] name it.
func PortName(vmid, number int) string { return fmt.Sprintf("veth%di%d", vmid, number) }

// InterfacesOf returns the interfaces of a configuration that have a bridge,
// with the ports that ports gives for the number of each. The error names the lines that cannot
// be read; the other interfaces are valid then too.
func InterfacesOf(c *pctconf.Config, ports func(number int) []string) (all []Interface, err error) {
	for number := range maxInterfaces {
		n, ok, netErr := c.Net(number)
		err = errors.Join(err, netErr)
		if ok && netErr == nil && n.Bridge != "" {
			all = append(all, Interface{Net: n, Ports: ports(number)})
		}
	}
	return all, err
}
