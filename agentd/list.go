package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// watchEvery is how often --watch looks.
const watchEvery = 2 * time.Second

func guestListCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "Show the guests: what runs in them, where, and what is wrong",
		Flags: []cli.Flag{jsonFlag(), &cli.BoolFlag{Name: "watch", Usage: "show the table again every 2 seconds until Ctrl-C"}},
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			if c.Bool("watch") && c.Bool("json") {
				return misuse(c, errors.New("--watch together with --json: choose one"))
			}
			return guestList(c.Context, cfg, c.Bool("json"), c.Bool("watch"), stdout)
		},
	}
}

// sourceOf returns where rows come from; done closes its store.
func sourceOf(cfg config.Config) (s overview.Source, done func() error, err error) {
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return s, nil, err
	}
	return sourceFrom(cfg, store), store.Close, nil
}

// sourceFrom returns where rows of an open store come from.
func sourceFrom(cfg config.Config, store *guests.Store) overview.Source {
	s := overview.Source{Store: store, StateDir: cfg.StateDir, Image: cfg.ControllerImage, Profile: cfg.Profile, Golden: goldenid.NewHost(cfg.Provision.Golden)}
	if elsewhereOf(cfg) != nil {
		s.Elsewhere = func(vmid int) string { return pct.NodeOf(pct.DefaultDir, vmid) }
	}
	s.MountFault = func(vmid int) error { return provision.MountFault(mountsOf(cfg), vmid) }
	if cfg.Hypervisor != "" {
		// A list of reports is useful without a hypervisor.
		if h, err := hypervisorOf(cfg); err == nil {
			s.Hypervisor = h
		}
	}
	return s
}

func guestList(ctx context.Context, cfg config.Config, asJSON, isWatch bool, stdout io.Writer) (err error) {
	s, done, err := sourceOf(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if !isWatch {
		return printRows(ctx, s, asJSON, stdout, widthOf(stdout))
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		var b bytes.Buffer
		width := widthOf(stdout) // the terminal may have been resized
		if err := printRows(ctx, s, false, &b, width); err != nil && ctx.Err() == nil {
			fmt.Fprintln(&b, termtext.Lines(err.Error()))
		}
		if width > 0 {
			b = *bytes.NewBuffer(append([]byte("\x1b[H\x1b[2J"), b.Bytes()...))
		}
		if _, err := stdout.Write(b.Bytes()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // the way to end it
		case <-tick.C:
		}
	}
}

func printRows(ctx context.Context, s overview.Source, asJSON bool, stdout io.Writer, width int) error {
	rows, broken, err := s.Rows(ctx)
	if err != nil {
		return err
	}
	rollout, rolloutErr := s.Rollout()
	rollout.Join(rows)
	if asJSON {
		err = printJSON(stdout, rows)
	} else {
		err = overview.Table(stdout, rows, time.Now(), width)
	}
	if rollout != nil && !asJSON { // the rows have it in JSON
		_, writeErr := fmt.Fprintln(stdout, rollout.Text())
		err = errors.Join(err, writeErr)
	}
	err = errors.Join(err, rolloutErr)
	var all []error
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		all = append(all, broken[name])
	}
	if len(all) > 0 {
		err = errors.Join(err, fault.WrapHint(fault.Failed, errors.Join(all...), "restore the file, or remove it and run guest add for that guest"))
	}
	return err
}

// widthOf returns the columns of the terminal that w is; 0 if it is not a terminal.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}
