package testbed

import (
	"context"
	"os/exec"
)

// DHCP returns the command of a DHCP server that serves one address on the bed's
// bridge, and nowhere else, until it gets SIGTERM. leases is a file of its own. It
// does not test whether the address is taken, for which it waits 3 s.
func (b Bed) DHCP(ctx context.Context, address, leases string, options ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "dnsmasq", append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file=", "--log-facility=-",
		"--interface=" + b.Bridge, "--except-interface=lo", "--bind-interfaces", "--dhcp-authoritative", "--no-ping",
		"--dhcp-leasefile=" + leases, "--dhcp-range=" + address + "," + address + ",10m",
	}, options...)...)
}
