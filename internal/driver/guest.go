package driver

import (
	"errors"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// GuestOf returns what a configuration says of guest vmid, all but its state and
// the ids of its root. The error names the lines that cannot be read; the rest
// of the guest is valid then too.
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
