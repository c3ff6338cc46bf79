package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
)

// checkNetwork finds what would prevent the new guest from reaching this host:
// an address that is taken, or no way to the local API. It only notes what may
// be wrong. conf is the archive's configuration.
func (r *run) checkNetwork(ctx context.Context, conf *pctconf.Config) error {
	archived, _, err := conf.Net(0)
	if err != nil {
		archived = driver.Net{} // Check has reported it
	}
	n := archived.With(r.job.Spec.Net)
	nets, err := r.p.options.Hypervisor.Networks(ctx)
	all := []error{err}
	for _, ip := range []pctconf.IP{n.IP, n.IP6} {
		if ip.IsFixed() {
			all = append(all, r.checkTaken(ip.Prefix.Addr(), n, nets), r.checkWay(ip.Prefix, n))
		}
	}
	all = append(all, r.checkFamily(n))
	warnings, err := r.p.options.Hypervisor.Warnings(ctx, r.job.Spec)
	all = append(all, err)
	if w := r.nameserverWarning(n, conf); w != "" {
		warnings = append(warnings, w)
	}
	for _, w := range warnings {
		r.p.options.Observer.Note(r.job.VMID, StepCheck, w)
	}
	return errors.Join(all...)
}

// checkTaken refuses an address that this host or another guest has.
func (r *run) checkTaken(addr netip.Addr, n driver.Net, nets map[int]driver.Net) error {
	const hint = "give the guest an address of its own"
	var own []netip.Addr
	if r.p.options.BridgeAddresses != nil {
		own, _ = r.p.options.BridgeAddresses(n.Bridge) // Check reports a missing bridge
	}
	if endpoint, ok := r.endpoint(); ok {
		own = append(own, endpoint)
	}
	var all []error
	if slices.Contains(own, addr) {
		all = append(all, fault.WrapHint(fault.Invalid, fmt.Errorf("the address %s is this host's own on bridge %s", addr, n.Bridge), hint))
	}
	for _, vmid := range slices.Sorted(maps.Keys(nets)) {
		other := nets[vmid]
		if vmid == r.job.VMID || other.Bridge != n.Bridge || other.VLAN != n.VLAN {
			continue
		}
		for _, ip := range []pctconf.IP{other.IP, other.IP6} {
			if ip.IsFixed() && ip.Prefix.Addr() == addr {
				all = append(all, fault.WrapHint(fault.Invalid, fmt.Errorf("the address %s is guest %d's already", addr, vmid), hint))
			}
		}
	}
	return errors.Join(all...)
}

// checkWay refuses a fixed address from which no route leads to the local API.
func (r *run) checkWay(p netip.Prefix, n driver.Net) error {
	endpoint, ok := r.endpoint()
	gateway := n.Gateway
	if p.Addr().Is6() {
		gateway = n.Gateway6
	}
	if !ok || endpoint.Is4() != p.Addr().Is4() || p.Contains(endpoint) || gateway.IsValid() {
		return nil
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("the guest could not reach the local API: %s is not in %s, and there is no gateway", endpoint, p.Masked()),
		"give an address of the bridge's network, or a gateway")
}

// checkFamily refuses a guest with IPv6 alone if the local API has an IPv4
// address.
func (r *run) checkFamily(n driver.Net) error {
	endpoint, ok := r.endpoint()
	has := func(ip pctconf.IP) bool { return !ip.IsZero() && ip.Word != pctconf.Manual }
	if !ok || !endpoint.Is4() || has(n.IP) || !has(n.IP6) {
		return nil
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("the guest has IPv6 alone, and the local API is at the IPv4 address %s", endpoint),
		"name an IPv6 address of the bridge first in listen, or give the guest an IPv4 address as well")
}

func (r *run) endpoint() (netip.Addr, bool) {
	a, err := netip.ParseAddr(r.boot.LocalAPIEndpoint.Host())
	return a.Unmap(), err == nil && !r.p.options.IsLookOnly
}

// nameserverWarning returns the warning for a guest with fixed addresses, which
// gets no name servers from a lease, if it has names to look up.
func (r *run) nameserverWarning(n driver.Net, conf *pctconf.Config) string {
	servers, _ := conf.Get("nameserver")
	if r.job.Spec.Nameserver != "" {
		servers = r.job.Spec.Nameserver
	}
	isFixed := n.IP.IsFixed() || n.IP6.IsFixed()
	names := r.names()
	if !isFixed || n.IP.Word == pctconf.DHCP || n.IP6.Word == pctconf.DHCP || strings.TrimSpace(servers) != "" || len(names) == 0 {
		return ""
	}
	need := "it must look up " + strings.Join(names, " and ")
	if r.p.options.Resolver == "" {
		return "warning: a fixed address and no nameserver: " + need + "; hint: give --nameserver, or nameserver in the golden image's pct.conf"
	}
	inherited := reachable(r.p.options.Resolver)
	if len(inherited) == 0 {
		return "warning: a fixed address and no nameserver, and " + r.p.options.Resolver + " of this host, which the guest gets, names none that a guest can reach: " +
			need + "; hint: give --nameserver"
	}
	return "no nameserver is given: the guest gets this host's, " + strings.Join(inherited, ", ")
}

// names returns the hosts that the guest must look up.
func (r *run) names() []string {
	var names []string
	add := func(host string) {
		if host == "" || slices.Contains(names, host) {
			return
		}
		if _, err := netip.ParseAddr(host); err != nil {
			names = append(names, host)
		}
	}
	registry := r.boot.RegistryMirror
	switch {
	case r.boot.RegistryProxy || r.isPreloaded():
		registry = "" // the guest asks this host, or no registry at all
	case registry == "" && !r.boot.ControllerImage.IsZero():
		registry = r.boot.ControllerImage.Host()
	}
	for _, text := range []string{"//" + registry, r.boot.HubURL} {
		if u, err := url.Parse(text); err == nil {
			add(u.Hostname())
		}
	}
	return names
}

// The record that felhom-golden writes beside an archive, with the images that
// the archive brings along.
const (
	recordSuffix   = ".provenance.json"
	maxRecord      = 16 << 20
	recordedImages = "image "
)

// isPreloaded reports whether the golden image is known to bring the guest's
// image along. Of an archive without its record, or on a storage of PVE, that is
// not known.
func (r *run) isPreloaded() bool {
	if !filepath.IsAbs(r.job.Spec.Archive) || r.boot.ControllerImage.IsZero() {
		return false
	}
	data, err := regular.Read(r.job.Spec.Archive+recordSuffix, maxRecord)
	var record struct {
		Inputs map[string]string `json:"inputs"`
	}
	if err != nil || json.Unmarshal(data, &record) != nil {
		return false
	}
	for name := range record.Inputs {
		image, isImage := strings.CutPrefix(name, recordedImages)
		if ref, err := contract.ParseImageRef(image); isImage && err == nil && ref == r.boot.ControllerImage {
			return true
		}
	}
	return false
}

const maxResolvConf = 1 << 20

// reachable returns the name servers of a resolv.conf that are not on the host's
// loopback, and whose addresses mean the same in a guest: one with a zone is that of an
// interface of the host.
func reachable(file string) []string {
	data, err := regular.Read(file, maxResolvConf)
	if err != nil {
		return nil
	}
	var list []string
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil && !a.IsLoopback() && !a.IsUnspecified() && a.Zone() == "" {
			list = append(list, fields[1])
		}
	}
	return list
}
