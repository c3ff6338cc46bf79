// Package listener opens the sockets of the local API and limits how many
// connections one source and all of them together may have. Call [Addresses],
// then [Bind]; wrap what it returns with [Caps.Wrap]. An error about a port names
// the process that has it. The package has no code for TLS and HTTP.
package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// ErrInUse means that another process has the address.
var ErrInUse = errors.New("address in use")

// InterfaceAddresses returns the addresses of one interface of this host.
func InterfaceAddresses(name string) ([]netip.Addr, error) {
	nic, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	addrs, err := nic.Addrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, prefix.Addr().Unmap())
		}
	}
	return out, nil
}

// Addresses returns listen if it is not empty, or else every address of the
// bridge that guests can use, with port.
func Addresses(listen []netip.AddrPort, bridge string, port uint16) ([]netip.AddrPort, error) {
	if len(listen) > 0 {
		return listen, nil
	}
	addrs, err := InterfaceAddresses(bridge)
	if err != nil {
		return nil, fmt.Errorf("addresses of bridge %s: %w", bridge, err)
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		// A link-local IPv6 address is of no use in a URL: it needs a zone, and
		// the zone is the guest's own.
		if a.Is6() && a.IsLinkLocalUnicast() {
			continue
		}
		out = append(out, netip.AddrPortFrom(a, port))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("bridge %s has no address that guests could use", bridge)
	}
	// IPv4 first: it is the address that guests are told.
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out, nil
}

// Bind listens on all of addrs or on none.
func Bind(ctx context.Context, addrs []netip.AddrPort) ([]net.Listener, error) {
	var config net.ListenConfig
	var out []net.Listener
	for _, a := range addrs {
		l, err := config.Listen(ctx, "tcp", a.String())
		if err != nil {
			for _, bound := range out {
				err = errors.Join(err, bound.Close())
			}
			return nil, explain(a, err)
		}
		out = append(out, l)
	}
	return out, nil
}

func explain(a netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		holder := holderOf(a)
		if holder == "" {
			holder = "a process that could not be found"
		}
		return fmt.Errorf("listen on %s: %w: held by %s", a, ErrInUse, holder)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this host has no such address: %w", a, err)
	}
	return fmt.Errorf("listen on %s: %w", a, err)
}
