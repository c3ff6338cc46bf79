package docker

import (
	"context"
	"net/netip"

	"github.com/docker/docker/api/types/network"
)

// Subnet is a range of addresses that the engine uses, or may give to a new network.
type Subnet struct {
	Network string // its network's name; "" for a pool
	Prefix  netip.Prefix
}

// maxSubnets bounds what Subnets returns.
const maxSubnets = 1000

// Subnets returns the subnets of the engine's networks, and the address pools
// that its configuration names. A part that the engine does not report is missing.
func (c *Client) Subnets(ctx context.Context) ([]Subnet, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	networks, err := c.api().NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, c.fault("list the networks", err)
	}
	var list []Subnet
	add := func(name, text string) {
		if prefix, err := netip.ParsePrefix(text); err == nil && len(list) < maxSubnets {
			list = append(list, Subnet{name, prefix.Masked()})
		}
	}
	for _, n := range networks {
		if n.Driver != "bridge" { // a macvlan is in the guest's own network on purpose
			continue
		}
		for _, config := range n.IPAM.Config {
			add(n.Name, config.Subnet)
		}
	}
	info, err := c.info(ctx)
	if err != nil {
		return list, c.fault("ask for the address pools", err)
	}
	for _, pool := range info.DefaultAddressPools {
		add("", pool.Base)
	}
	return list, nil
}
