package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/e2e/acceptance"
)

// table asks the daemon what the proof of concept asked it; within runs curl
// where a guest is, nil runs it here.
func (d *demo) table(ctx context.Context, h *hostSide, within func(argv ...string) ([]string, error)) error {
	d.say("$ curl --insecure --pinnedpubkey PIN --config - %s/storage     (the token is in the config on stdin)\n", h.Endpoint)
	d.say("      %-3s %-34s %-22s %-10s %-10s", "", "case", "path", "want", "got")
	number, err := strconv.Atoi(vmid)
	if err != nil {
		return err
	}
	var first string
	for _, c := range acceptance.Cases(number, h.pin, h.secrets[vmid], h.secrets[other]) {
		got, body, err := c.Ask(ctx, h.Endpoint, within)
		if err != nil {
			return err
		}
		d.check(c.Want == got, "%-3s %-34s %-22s %-10s %-10s", c.Name, c.What, c.Path, c.Want, got)
		if c.Name == "T1" {
			first = body
		}
	}
	d.say("\nT1's answer:  %s", strings.TrimSpace(first))
	return nil
}

// stolen uses valid tokens from where their guests are not. The host proves the
// origin of each request by its own tables: address, MAC, port of the bridge, guest.
// Each runs curl in the network of one of the guests.
func (d *demo) stolen(ctx context.Context, h *hostSide, inFirst, inOther func(argv ...string) ([]string, error)) error {
	d.say("The daemon has origin: enforce. The same requests as before, with the right pin and a valid token:\n")
	for _, c := range []struct {
		acceptance.Case
		within func(argv ...string) ([]string, error)
	}{
		{acceptance.Stolen("S1", "guest "+vmid+"'s token in guest "+other, h.pin, h.secrets[vmid]), inOther},
		{acceptance.Stolen("S2", "guest "+other+"'s token in guest "+vmid, h.pin, h.secrets[other]), inFirst},
		{acceptance.Stolen("S3", "guest "+vmid+"'s token on the host", h.pin, h.secrets[vmid]), nil},
	} {
		got, _, err := c.Ask(ctx, h.Endpoint, c.within)
		if err != nil {
			return err
		}
		d.check(c.Want == got, "%-3s %-34s %-22s %-10s %-10s", c.Name, c.What, c.Path, c.Want, got)
	}
	return nil
}
