package lxc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/unpack"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// defaultIDBase is the first host id of an unprivileged guest without lxc.idmap
// lines, as on PVE.
const defaultIDBase = 100000

// idMap returns the guest's id map: its lxc.idmap lines, or PVE's. It is
// complete, and no id of it is one of this host's users.
func idMap(c *pctconf.Config) (unpack.IDMap, error) {
	var m unpack.IDMap
	ranges, err := pctconf.IDRanges(c)
	if err != nil {
		return m, err
	}
	for _, r := range ranges {
		of := &m.UIDs
		if r.Group {
			of = &m.GIDs
		}
		*of = append(*of, unpack.Range{Guest: r.Guest, Host: r.Host, Count: r.Count})
	}
	if len(ranges) > 0 {
		if err := errors.Join(m.Check(), pctconf.CheckIDRanges(ranges)); err != nil {
			return unpack.IDMap{}, fault.WrapHint(fault.Invalid, fmt.Errorf("lxc.idmap: %w", err),
				fmt.Sprintf("map each id from 0 to %d once, to ids of this host from %d on", vzdump.MaxID, pctconf.LeastHostID))
		}
		return m, nil
	}
	if unprivileged, _ := c.Bool("unprivileged"); !unprivileged {
		return m, errors.New("unprivileged is not 1: this host runs unprivileged guests only")
	}
	r := unpack.Range{Guest: 0, Host: defaultIDBase, Count: vzdump.MaxID + 1}
	return unpack.IDMap{UIDs: []unpack.Range{r}, GIDs: []unpack.Range{r}}, nil
}

// settings is a configuration with the first thing that went wrong.
type settings struct {
	*pctconf.Config
	err error
}

func (s *settings) set(key, value string) {
	if err := s.Set(key, value); err != nil && s.err == nil {
		s.err = driver.Faultf(driver.ErrRefused, "", "%w", err)
	}
}

// applySpec turns an archive's configuration into the new guest's.
func applySpec(archive *pctconf.Config, s driver.Spec) (*pctconf.Config, error) {
	c := &settings{Config: archive}
	c.Pending, c.Snapshots = nil, nil
	// As in PVE's restore, settings that belong to another host are left out.
	c.Settings = slices.DeleteFunc(c.Settings, func(l pctconf.Setting) bool {
		return isNumbered(l.Key, "mp") || isNumbered(l.Key, "unused") || l.Key == "lock" || l.Key == "template" || l.Key == "parent"
	})
	if s.Hostname != "" {
		c.set("hostname", s.Hostname)
	}
	if s.Description != "" {
		c.Description = s.Description
	}
	for key, value := range map[string]int{"cores": s.Cores, "memory": s.MemoryMiB} {
		if value != 0 {
			c.set(key, strconv.Itoa(value))
		}
	}
	if s.SwapMiB != nil {
		c.set("swap", strconv.Itoa(*s.SwapMiB))
	}
	if s.OnBoot != nil {
		c.set("onboot", pctconf.FormatBool(*s.OnBoot))
	}
	if s.Nameserver != "" {
		c.set("nameserver", s.Nameserver)
	}
	net, err := netOf(c.Config)
	if err != nil {
		return nil, err
	}
	if s.Net.Bridge != "" {
		net = net.With(s.Net)
	}
	if net.Bridge != "" {
		net.MAC = freshMAC()
		c.set("net0", net.String())
	}
	return c.Config, c.err
}

func isNumbered(key, name string) bool {
	digits, ok := strings.CutPrefix(key, name)
	_, err := strconv.Atoi(digits)
	return ok && err == nil
}

// freshMAC is in the range that is registered for Proxmox guests.
func freshMAC() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("BC:24:11:%02X:%02X:%02X", b[0], b[1], b[2])
}

// netOf returns the guest's interface; the zero value if it has none.
func netOf(c *pctconf.Config) (driver.Net, error) {
	n, _, err := c.Net(0)
	return n, err
}

// guestOf returns what the configuration has about the guest; the state comes
// from the kernel.
func guestOf(vmid int, c *pctconf.Config) (driver.Guest, error) {
	g, err := driver.GuestOf(vmid, c)
	if err != nil {
		return g, err
	}
	ids, err := idMap(c)
	if err != nil {
		return g, err
	}
	g.Root.UID, g.Root.GID = ids.Root()
	return g, nil
}
