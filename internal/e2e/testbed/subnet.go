package testbed

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/felhom/felhom-golden/internal/fault"
)

// pool is where the bed's networks come from: a private range that few use,
// cut into /24s, so that beds can run side by side.
const poolFormat = "10.213.%d.0/24"

var errNoSubnet = errors.New("no free network for the test bed: each of 10.213.0.0/24 to 10.213.255.0/24 overlaps a network of this machine")

// freeSubnet returns the first network of the pool that overlaps none of used.
func freeSubnet(used []netip.Prefix) (netip.Prefix, error) {
next:
	for i := range 256 {
		candidate := netip.MustParsePrefix(fmt.Sprintf(poolFormat, i))
		for _, u := range used {
			if u.Overlaps(candidate) {
				continue next
			}
		}
		return candidate, nil
	}
	return netip.Prefix{}, fault.WrapHint(fault.NotReady, errNoSubnet, "see them with: ip -4 address; ip -4 route")
}

// gateway is the bridge's own address in a network of the pool.
func gateway(p netip.Prefix) netip.Addr { return p.Addr().Next() }

// usedSubnets returns the networks this machine has addresses in or routes to.
// Default routes are left out: they overlap everything.
func usedSubnets() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var used []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			used = append(used, p.Masked())
		}
	}
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, fmt.Errorf("list this machine's routes: %w", err)
	}
	routes, err := parseRoutes(string(table))
	return append(used, routes...), err
}

// parseRoutes reads the text of /proc/net/route: hexadecimal addresses in the
// machine's byte order, which is little endian on all that we build for.
func parseRoutes(table string) ([]netip.Prefix, error) {
	var routes []netip.Prefix
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) == 0 {
			continue // heading
		}
		if len(fields) < 8 {
			return nil, fmt.Errorf("/proc/net/route:%d: %d fields, want at least 8", i+1, len(fields))
		}
		var dest, mask uint32
		if _, err := fmt.Sscanf(fields[1]+" "+fields[7], "%x %x", &dest, &mask); err != nil {
			return nil, fmt.Errorf("/proc/net/route:%d: %w", i+1, err)
		}
		bits, _ := net.IPMask(littleEndian(mask)).Size()
		if bits == 0 {
			continue
		}
		addr, _ := netip.AddrFromSlice(littleEndian(dest))
		routes = append(routes, netip.PrefixFrom(addr, bits))
	}
	return routes, nil
}

func littleEndian(v uint32) []byte {
	return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
}
