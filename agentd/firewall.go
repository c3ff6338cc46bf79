package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/firewall"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// pveDir is where PVE's own firewall is configured.
const pveDir = "/etc/pve"

// How often the daemon compares the guests with the rules that it made last, and
// these with the kernel's.
const (
	firewallStep  = 5 * time.Second
	firewallCheck = 15 * time.Second
)

const firewallHint = "it takes CAP_NET_ADMIN: docs/security.md has the lines for the daemon's unit; and a kernel with nftables for bridges"

func firewallCommand(stdout io.Writer) *cli.Command {
	sub := func(name, usage, about string, work func(context.Context, config.Config, bool, io.Writer) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Description: about + "\n\nExample:\n   felhom-agentd firewall " + name,
			Flags: []cli.Flag{jsonFlag()},
			Action: func(c *cli.Context) error {
				cfg, err := loadConfig(c.String("config"))
				if err != nil {
					return err
				}
				return work(c.Context, cfg, c.Bool("json"), stdout)
			},
		}
	}
	return &cli.Command{
		Name: "firewall", Usage: "Show, apply and remove rules that let only the guests reach the local API",
		Subcommands: []*cli.Command{
			sub("show", "Print the rules, whether they are in force, and what PVE's firewall needs", "It changes nothing. Without root it does not know whether they are in force.", firewallShow),
			sub("apply", "Replace the rules by those for the guests of now", "Only the table bridge "+firewall.Table+" is touched. With firewall: apply the daemon does it.", firewallApply),
			sub("remove", "Remove the rules", "Nothing of them is left. With firewall: apply the daemon makes them again.", firewallRemove),
		},
	}
}

// firewallPlan returns the rules for the guests of now. A guest whose
// configuration cannot be read now keeps its entries of the plan before.
func firewallPlan(ctx context.Context, cfg config.Config, store *guests.Store, before firewall.Plan) (firewall.Plan, error) {
	addrs, err := listener.Addresses(cfg.Listen, cfg.Bridge, config.DefaultPort)
	if err != nil {
		return firewall.Plan{}, fault.WrapHint(fault.NotReady, err, "is the bridge up? set bridge or listen in the configuration")
	}
	h, err := hypervisorOf(cfg)
	if err != nil {
		return firewall.Plan{}, err
	}
	var known []firewall.Guest
	var skipped []string
	if store != nil {
		records, broken, err := store.List()
		if err != nil {
			return firewall.Plan{}, err
		}
		for _, name := range slices.Sorted(maps.Keys(broken)) {
			// Its tokens are not valid either.
			skipped = append(skipped, fmt.Sprintf("record %s: %v", name, broken[name]))
		}
		for _, r := range records {
			nics, err := h.Interfaces(ctx, r.VMID)
			if err != nil && len(nics) == 0 { // on another node, say, or not made yet
				skipped = append(skipped, err.Error())
				if !errors.Is(err, driver.ErrNotFound) {
					known = append(known, firewall.Guest{VMID: r.VMID, Before: before.Of(r.VMID)})
				}
				continue
			}
			known = append(known, firewall.Guest{VMID: r.VMID, Interfaces: nics})
		}
	}
	p, err := firewall.NewPlan(addrs, known)
	p.Skipped = append(p.Skipped, skipped...)
	return p, err
}

// storedPlan is firewallPlan for commands.
func storedPlan(ctx context.Context, cfg config.Config) (_ firewall.Plan, err error) {
	store, err := openStore(cfg)
	if err != nil {
		return firewall.Plan{}, err
	}
	if store != nil {
		defer func() { err = errors.Join(err, store.Close()) }()
	}
	return firewallPlan(ctx, cfg, store, firewall.Plan{})
}

// appliedFirewall is what firewall apply prints.
type appliedFirewall struct {
	Entries int      `json:"entries"`
	Skipped []string `json:"skipped"`
}

// removedFirewall is what firewall remove prints.
type removedFirewall struct {
	Again bool `json:"made_again_by_daemon"`
}

type shownFirewall struct {
	State      string           `json:"state"` // absent, differs, current, or unknown
	Difference string           `json:"difference,omitempty"`
	Table      string           `json:"table"`
	Entries    []firewall.Entry `json:"entries"`
	Skipped    []string         `json:"skipped"`
	PVE        firewall.PVE     `json:"pve"`
}

func firewallShow(ctx context.Context, cfg config.Config, asJSON bool, stdout io.Writer) error {
	p, err := storedPlan(ctx, cfg)
	if err != nil {
		return err
	}
	out := shownFirewall{State: "unknown", Table: p.Text(), Entries: append([]firewall.Entry{}, p.Entries...), Skipped: append([]string{}, p.Skipped...)}
	state, difference, err := firewall.Look(p)
	switch {
	case err == nil:
		out.State, out.Difference = string(state), difference
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		out.Difference = "only root can see the rules of this host"
	default:
		out.Difference = err.Error()
	}
	if out.PVE, err = pveFirewall(pveDir, cfg, p); err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, out)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# state: %s", out.State)
	if out.Difference != "" {
		fmt.Fprintf(&b, " (%s)", out.Difference)
	}
	fmt.Fprintf(&b, "\n%s", out.Table)
	for _, s := range out.Skipped {
		fmt.Fprintf(&b, "# no entry: %s\n", s)
	}
	if out.PVE.IsOn {
		found := "has no rule for it: guests do not reach the local API until you add"
		if out.PVE.HasRule {
			found = "has a rule for it; this one is enough"
		}
		fmt.Fprintf(&b, "\n# PVE's own firewall is on, and %s\n# to %s:\n%s# and to %s:\n%s", found, out.PVE.ClusterFile, out.PVE.Cluster, out.PVE.HostFile, out.PVE.Host)
	}
	_, err = io.WriteString(stdout, b.String())
	return err
}

func pveFirewall(dir string, cfg config.Config, p firewall.Plan) (firewall.PVE, error) {
	host, err := os.Hostname()
	if err != nil {
		return firewall.PVE{}, err
	}
	node, _, _ := strings.Cut(host, ".")
	return firewall.LookAtPVE(dir, node, cfg.Bridge, p, networksOf(p.Listen))
}

// networksOf returns the networks of this host's addresses that the API has.
func networksOf(listen []netip.AddrPort) (out []netip.Prefix) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		network, err := netip.ParsePrefix(a.String())
		for _, l := range listen {
			if err == nil && l.Addr() == network.Addr() {
				out = append(out, network.Masked())
			}
		}
	}
	return out
}

func firewallApply(ctx context.Context, cfg config.Config, asJSON bool, stdout io.Writer) error {
	if err := command.RequireRoot("firewall apply"); err != nil {
		return err
	}
	p, err := storedPlan(ctx, cfg)
	if err != nil {
		return err
	}
	if err := firewall.Apply(p); err != nil {
		return fault.WrapHint(fault.NotReady, err, firewallHint)
	}
	if asJSON {
		return printJSON(stdout, appliedFirewall{len(p.Entries), append([]string{}, p.Skipped...)})
	}
	text := fmt.Sprintf("table bridge %s lets %d combinations of port, MAC and address reach the local API\n", firewall.Table, len(p.Entries))
	for _, s := range p.Skipped {
		text += "no entry: " + s + "\n"
	}
	_, err = io.WriteString(stdout, text)
	return err
}

func firewallRemove(_ context.Context, cfg config.Config, asJSON bool, stdout io.Writer) error {
	if err := command.RequireRoot("firewall remove"); err != nil {
		return err
	}
	if err := firewall.Remove(); err != nil {
		return fault.WrapHint(fault.NotReady, err, firewallHint)
	}
	again := cfg.Firewall == config.FirewallApply
	if asJSON {
		return printJSON(stdout, removedFirewall{again})
	}
	text := "table bridge " + firewall.Table + " is removed\n"
	if again {
		text += "the daemon makes it again: set firewall: off in the configuration and restart it\n"
	}
	_, err := io.WriteString(stdout, text)
	return err
}

// firewallKeeper keeps the rules of the daemon.
type firewallKeeper struct {
	cfg    config.Config
	store  *guests.Store
	logger *logrus.Logger
	last   firewall.Plan
	// complained is the last error: the same one is not logged at each step.
	complained string
}

// openFirewall makes the rules; nil if the configuration does not ask for them.
func openFirewall(ctx context.Context, cfg config.Config, store *guests.Store, logger *logrus.Logger) (*firewallKeeper, error) {
	if cfg.Firewall != config.FirewallApply {
		return nil, nil
	}
	k := &firewallKeeper{cfg: cfg, store: store, logger: logger}
	if err := k.keep(ctx, true); err != nil {
		return nil, fault.WrapHint(fault.NotReady, err, firewallHint)
	}
	return k, nil
}

// run returns when ctx is done. The rules stay: without the daemon there is no API.
func (k *firewallKeeper) run(ctx context.Context) {
	step := time.NewTicker(firewallStep)
	defer step.Stop()
	checked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-step.C:
			isDue := now.Sub(checked) >= firewallCheck
			if isDue {
				checked = now
			}
			k.complain(k.keep(ctx, isDue))
		}
	}
}

func (k *firewallKeeper) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != k.complained && err != nil {
		k.logger.WithError(err).Error("the rules that let only guests reach the local API are not kept")
	}
	k.complained = text
}

// keep applies the rules if the guests changed, or if a look shows that the
// kernel has not got them.
func (k *firewallKeeper) keep(ctx context.Context, isDue bool) error {
	p, err := firewallPlan(ctx, k.cfg, k.store, k.last)
	if err != nil {
		return err
	}
	isNew := !reflect.DeepEqual(p, k.last)
	if !isNew && !isDue {
		return nil
	}
	state, what, err := firewall.Look(p)
	if err != nil {
		return err
	}
	if state == firewall.Current {
		k.last = p
		return nil
	}
	if !isNew {
		k.logger.WithFields(logrus.Fields{"state": state, "difference": what}).Warn("another program changed the rules that let only guests reach the local API; they are made again")
	}
	if err := firewall.Apply(p); err != nil {
		return err
	}
	k.last = p
	k.logger.WithFields(logrus.Fields{"entries": len(p.Entries), "skipped": p.Skipped}).Info("rules of the local API applied")
	return nil
}

// firewallState is the check of doctor.
func firewallState(ctx context.Context, cfg config.Config) []checks.Finding {
	p, err := storedPlan(ctx, cfg)
	if err != nil {
		return []checks.Finding{checks.NotKnown("correct what the other checks found", "%v", err)}
	}
	state, what, err := firewall.Look(p)
	var found []checks.Finding
	switch {
	case err != nil:
		found = append(found, checks.NotKnown(firewallHint, "%v", err))
	case state == firewall.Current:
		found = append(found, checks.Fine("table bridge %s: only the ports and MACs of the guests reach the local API (%d entries)", firewall.Table, len(p.Entries)))
	case state == firewall.Differs:
		found = append(found, checks.Fail(fault.NotReady, "felhom-agentd firewall apply, or firewall: apply in the configuration", "the rules are not those of the guests of now: %s", what))
	case cfg.Firewall == config.FirewallApply:
		found = append(found, checks.Fail(fault.NotReady, "systemctl restart felhom-agentd; its log says why they are not made", "the rules that the configuration asks for are gone"))
	default:
		found = append(found, checks.Warn("felhom-agentd firewall apply, or firewall: apply in the configuration",
			"felhom-agentd has no rules on this host: who reaches its address can connect, and pin, token and origin alone protect it"))
	}
	pve, err := pveFirewall(pveDir, cfg, p)
	switch {
	case err != nil:
		found = append(found, checks.NotKnown("felhom-agentd firewall show", "%v", err))
	case pve.IsOn && !pve.HasRule:
		found = append(found, checks.Fail(fault.NotReady, "felhom-agentd firewall show prints the rule to add", "PVE's own firewall is on and has no rule for the local API: guests do not reach it"))
	}
	return found
}
