// Package firewall keeps all but the guests away from the local API: rules in a
// table of its own, of nftables' family bridge, accept a connection to the API
// from a guest's port, MAC and address alone. Make a [Plan], then [Apply] it, or
// print its [Plan.Text]; [Look] reports whether it is in force, [Remove] leaves
// nothing. Other tables, and other packets, are not touched.
//
// The rules see what arrives through a bridge of Linux. What is routed to the
// host through another interface, and bridges of Open vSwitch, pass them by.
package firewall

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Table is the name of the table, of the family bridge.
const Table = "felhom_agentd"

// Names in the table.
const (
	chainName = "input"
	set4Name  = "guests4"
	set6Name  = "guests6"
)

// maxEntries bounds the sets.
const maxEntries = 65536

// Guest is a guest that may reach the local API.
type Guest struct {
	VMID       int
	Interfaces []driver.Interface
	Before     []Entry // what it keeps beside those of Interfaces
}

// Entry is one element of the sets: who may connect.
type Entry struct {
	Guest     int          `json:"guest"`
	Port      string       `json:"port"`
	MAC       string       `json:"mac"`       // lower case, with colons
	Addresses netip.Prefix `json:"addresses"` // a fixed address, or all of its family
}

// Plan is what the table has to be. The zero value is of no use; call [NewPlan].
type Plan struct {
	Listen  []netip.AddrPort
	Entries []Entry
	// Skipped are the guests' interfaces without entries: "guest 8200: …".
	Skipped []string
}

var (
	all4 = netip.MustParsePrefix("0.0.0.0/0")
	all6 = netip.MustParsePrefix("::/0")
)

// NewPlan returns the plan for a local API at these addresses. An interface that
// gets its address from the network, or sets it itself, may have any: its port
// and its MAC tell it apart.
func NewPlan(listen []netip.AddrPort, guests []Guest) (Plan, error) {
	p := Plan{}
	for _, a := range listen {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if !a.Addr().IsValid() || a.Addr().IsUnspecified() || a.Addr().Zone() != "" || a.Port() == 0 {
			return Plan{}, fmt.Errorf("firewall: %s is not the address of a local API", a)
		}
		p.Listen = append(p.Listen, a)
	}
	for _, g := range guests {
		p.Entries = append(p.Entries, g.Before...)
		for _, nic := range g.Interfaces {
			mac, err := net.ParseMAC(nic.MAC)
			if err != nil || len(mac) != 6 {
				p.Skipped = append(p.Skipped, fmt.Sprintf("guest %d: interface %s has no MAC in its configuration", g.VMID, nic.Name))
				continue
			}
			for _, port := range nic.Ports {
				if port == "" || len(port) > maxName {
					p.Skipped = append(p.Skipped, fmt.Sprintf("guest %d: %q is not the name of a port", g.VMID, port))
					continue
				}
				for _, addresses := range []netip.Prefix{addressesOf(nic.IP.Prefix, all4), addressesOf(nic.IP6.Prefix, all6)} {
					p.Entries = append(p.Entries, Entry{g.VMID, port, mac.String(), addresses})
				}
			}
		}
	}
	slices.SortFunc(p.Listen, netip.AddrPort.Compare)
	p.Listen = slices.Compact(p.Listen)
	slices.SortFunc(p.Entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.MAC, b.MAC), a.Addresses.Addr().Compare(b.Addresses.Addr()), cmp.Compare(a.Addresses.Bits(), b.Addresses.Bits()))
	})
	p.Entries = slices.Compact(p.Entries)
	if len(p.Entries) > maxEntries {
		return Plan{}, fmt.Errorf("firewall: %d entries exceed the limit of %d", len(p.Entries), maxEntries)
	}
	return p, nil
}

// addressesOf returns the fixed address alone, or all if there is none.
func addressesOf(fixed, all netip.Prefix) netip.Prefix {
	if !fixed.IsValid() {
		return all
	}
	return netip.PrefixFrom(fixed.Addr(), fixed.Addr().BitLen())
}

// Of returns the entries of one guest.
func (p Plan) Of(vmid int) (all []Entry) {
	for _, e := range p.Entries {
		if e.Guest == vmid {
			all = append(all, e)
		}
	}
	return all
}

// entries returns those of one family.
func (p Plan) entries(is6 bool) (all []Entry) {
	for _, e := range p.Entries {
		if e.Addresses.Addr().Is6() == is6 {
			all = append(all, e)
		}
	}
	return all
}

// comment marks the rules: another digest is another plan's rule.
func (p Plan) comment() string {
	sum := sha256.Sum256(fmt.Append(nil, formatVersion, p.Listen))
	return "felhom-agentd " + hex.EncodeToString(sum[:8])
}

// formatVersion changes with the rules that are made from a plan.
const formatVersion = 1

// Text returns the table as nft reads it.
func (p Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table bridge %s {\n", Table)
	for _, set := range []struct {
		name, kind string
		is6        bool
	}{{set4Name, "ipv4_addr", false}, {set6Name, "ipv6_addr", true}} {
		fmt.Fprintf(&b, "\tset %s {\n\t\ttype ifname . ether_addr . %s\n\t\tflags interval\n", set.name, set.kind)
		for i, e := range p.entries(set.is6) {
			if i == 0 {
				b.WriteString("\t\telements = {\n")
			}
			fmt.Fprintf(&b, "\t\t\t%q . %s . %s, # guest %d\n", e.Port, e.MAC, strings.TrimSuffix(strings.TrimSuffix(e.Addresses.String(), "/32"), "/128"), e.Guest)
		}
		if len(p.entries(set.is6)) > 0 {
			b.WriteString("\t\t}\n")
		}
		b.WriteString("\t}\n")
	}
	fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook input priority filter; policy accept;\n", chainName)
	for _, a := range p.Listen {
		family, set := "ip", set4Name
		if a.Addr().Is6() {
			family, set = "ip6", set6Name
		}
		fmt.Fprintf(&b, "\t\tmeta protocol %[1]s %[1]s daddr %[2]s tcp dport %[3]d iifname . ether saddr . %[1]s saddr != @%[4]s counter drop comment %[5]q\n",
			family, a.Addr(), a.Port(), set, p.comment())
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}
