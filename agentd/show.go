package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

func guestShowCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "Show all that is known of a guest, and its container's settings", ArgsUsage: "VMID",
		Description: "Secrets are not shown.\n\nExample:\n   felhom-agentd guest show 8200",
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			vmid, cfg, err := guestArgs(c)
			if err != nil {
				return err
			}
			return guestShow(c.Context, cfg, vmid, c.Bool("json"), stdout, stderr)
		},
	}
}

// shown is what guest show prints of a guest.
type shown struct {
	overview.Row
	Settings *provision.Settings `json:"settings,omitempty"`
	// Container is a container as the record keeps it, with lists and pairs by
	// name.
	Container *guests.Container `json:"container,omitempty"`
	Mount     string            `json:"mount"`
	Status    string            `json:"status_command,omitempty"`
}

func guestShow(ctx context.Context, cfg config.Config, vmid int, asJSON bool, stdout, stderr io.Writer) (err error) {
	s, done, err := sourceOf(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	row, err := s.Row(ctx, vmid)
	if errors.Is(err, guests.ErrNotFound) {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: %w", vmid, provision.ErrKnownNothing), "felhom-agentd guest list shows those it knows")
	}
	if err != nil {
		return err
	}
	out := shown{Row: row, Mount: mountsOf(cfg).Path(vmid), Status: statusCommand(cfg, vmid)}
	p := provision.New(provision.Options{Store: s.Store, StateDir: cfg.StateDir, Mounts: mountsOf(cfg), Observer: newTeller(stderr), Now: time.Now})
	settings, err := p.Settings(cfg, vmid)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return err
	}
	if err == nil {
		out.Settings = &settings
		if !containerspec.IsZero(&settings.Container) {
			c := guests.Container(settings.Container)
			out.Container = &c
		}
	}
	if asJSON {
		return printJSON(stdout, out)
	}
	_, err = io.WriteString(stdout, out.text(time.Now()))
	return err
}

// statusCommand returns the command that reads the guest's own record on the
// host; "" if the host does not have the program for it.
func statusCommand(cfg config.Config, vmid int) string {
	program := guestProgram()
	switch {
	case program == "":
		return ""
	case cfg.Hypervisor == config.HypervisorLXC:
		return program + " --root " + filepath.Join(cfg.LXCPath, strconv.Itoa(vmid), "rootfs") + " status"
	}
	return fmt.Sprintf("pct mount %[1]d && %[2]s --root /var/lib/lxc/%[1]d/rootfs status; pct unmount %[1]d", vmid, program)
}

// guestProgram returns the path of this host's own felhom-controller-bootstrap, which the package of felhom-golden
// brings; "" if there is none. A guest's own is not run on the host.
func guestProgram() string {
	const name = "felhom-controller-bootstrap"
	for _, path := range []string{"/usr/local/sbin/" + name, "/usr/sbin/" + name, "/usr/lib/felhom-golden/" + name + "-linux-" + runtime.GOARCH} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// text returns a line for each thing that is known.
func (s shown) text(now time.Time) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, strings.ReplaceAll(termtext.Lines(value), "\n", "\n"+strings.Repeat(" ", 13)))
		}
	}
	line("guest", strconv.Itoa(s.Guest))
	line("name", s.Name)
	line("state", s.State)
	if s.Unfinished {
		line("unfinished", "its provisioning or removal was interrupted")
	}
	controller := s.Controller
	if s.Class != "" {
		controller += ": " + s.Class
	}
	line("controller", controller)
	line("address", s.Address)
	line("urls", strings.Join(s.URLs, "\n"))
	if !s.Since.IsZero() {
		line("since", s.Since.Format(time.RFC3339)+" ("+overview.Age(now.Sub(s.Since))+" ago)")
	}
	line("step", strings.TrimSpace(s.Step+" "+s.StepState+" "+s.Result))
	line("message", s.Message)
	line("hint", s.Hint)
	line("still runs", s.Running)
	line("now", s.Now)
	line("detached", s.Detached)
	line("node", s.Node)
	if s.Rollout != nil {
		line("rollout", string(s.Rollout.State)+": "+s.Rollout.Image)
	}
	line("golden", s.Golden)
	if !s.Added.IsZero() {
		line("added", s.Added.Format(time.RFC3339))
	}
	line("token", s.token())
	line("mount", s.Mount)
	line("console", s.Console)
	line("record", s.Status)
	s.settings(line)
	return b.String()
}

// token says what is known of the guest's token. A report is not a use: the
// bootstrapper sends it with the token of the mount, whatever the controller has.
func (s shown) token() string {
	switch {
	case s.Revoked:
		return "revoked"
	case s.TokenSeen != nil:
		return "first used by the controller " + s.TokenSeen.Format(time.RFC3339)
	case s.Settings != nil && s.Settings.Profile == contract.ProfilePlain:
		return "valid; with the profile plain only the bootstrapper and the engine use it"
	}
	return "valid; the controller has not asked for /storage with it yet"
}

func (s shown) settings(line func(name, value string)) {
	if s.Settings == nil {
		return
	}
	from := " (of the configuration)"
	if s.Settings.IsAsked {
		from = " (asked for)"
	}
	line("image", s.Settings.Image+from)
	line("profile", string(s.Settings.Profile))
	line("ready_wait", s.Settings.Wait)
	c := s.Settings.Container
	line("ports", strings.Join(c.Ports, "\n"))
	line("volumes", strings.Join(c.Volumes, "\n"))
	line("environment", strings.Join(containerspec.Pairs(c.Environment), "\n"))
	line("extra_hosts", strings.Join(c.ExtraHosts, "\n"))
	line("memory", c.Memory)
	line("labels", strings.Join(containerspec.Pairs(c.Labels), "\n"))
	if len(c.Command) > 0 {
		line("command", fmt.Sprintf("%q", c.Command))
	}
	line("network", c.Network)
	line("repositories", strings.Join(s.Settings.Repositories, "\n"))
	line("problem", s.Settings.Problem)
}
