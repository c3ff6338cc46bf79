package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

type listed struct {
	Guest      int              `json:"guest"`
	Unfinished bool             `json:"unfinished,omitempty"` // its provisioning or removal was interrupted
	Added      time.Time        `json:"added,omitzero"`       // zero: interrupted before there was a record
	TokenSeen  *time.Time       `json:"token_first_used,omitempty"`
	Progress   *guests.Progress `json:"progress,omitempty"`
	State      string           `json:"guest_state,omitempty"` // running, stopped, gone; "": it could not be asked for
	Console    string           `json:"console_file,omitempty"`
}

// guestList prints what the store knows. Files of it that cannot be read are an
// error, and the others are printed all the same.
func guestList(ctx context.Context, cfg config.Config, asJSON bool, now func() time.Time, stdout io.Writer) (err error) {
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	records, broken, err := store.List()
	if err != nil {
		return err
	}
	unfinished, err := provision.Unfinished(cfg.StateDir)
	if err != nil {
		return err
	}
	out := make([]listed, 0, len(records))
	for _, r := range records {
		l := listed{Guest: r.VMID, Unfinished: unfinished[r.VMID], Added: r.Added, TokenSeen: r.Current.FirstUsed}
		switch p, err := store.Progress(r.VMID); {
		case err == nil:
			l.Progress = &p
		case !errors.Is(err, guests.ErrNotFound):
			broken["reports of "+strconv.Itoa(r.VMID)] = err
		}
		delete(unfinished, r.VMID)
		out = append(out, l)
	}
	for vmid := range unfinished {
		out = append(out, listed{Guest: vmid, Unfinished: true})
	}
	slices.SortFunc(out, func(a, b listed) int { return cmp.Compare(a.Guest, b.Guest) })
	askStates(ctx, cfg, out)
	if asJSON {
		err = printJSON(stdout, out)
	} else {
		err = printTable(stdout, out, now())
	}
	// The others are of use beside a damaged one.
	var all []error
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		all = append(all, broken[name])
	}
	if len(all) > 0 {
		err = errors.Join(err, fault.WrapHint(fault.Failed, errors.Join(all...), "restore the file, or remove it and run guest add for that guest"))
	}
	return err
}

// statesLimit bounds how long guest list asks the hypervisor: what it does not
// say by then is left out.
const statesLimit = 5 * time.Second

// askStates adds what the hypervisor says of each guest. A list of reports is of
// use without it, so that nothing here is an error.
func askStates(ctx context.Context, cfg config.Config, rows []listed) {
	if cfg.Hypervisor == "" {
		return
	}
	h, err := hypervisorOf(cfg)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, statesLimit)
	defer cancel()
	var all sync.WaitGroup
	next := make(chan *listed)
	for range min(len(rows), 4) {
		all.Go(func() {
			for row := range next {
				switch st, err := h.Status(ctx, row.Guest); {
				case err == nil:
					row.State, row.Console = string(st.State), st.ConsoleFile
				case errors.Is(err, driver.ErrNotFound):
					row.State = "gone"
				}
			}
		})
	}
	for i := range rows {
		next <- &rows[i]
	}
	close(next)
	all.Wait()
}

// word returns what a row shows: the last failure that no success has followed,
// with its hint, rather than what the guest tries since; and for a guest that
// does not run, that it does not.
func (l listed) word() (last guests.Received, message string, ok bool) {
	if l.Progress != nil {
		last, ok = l.Progress.Last()
		if l.Progress.Failure != nil {
			last, ok = *l.Progress.Failure, true
		}
		message = last.Report.Message
	}
	message = printable(message)
	if last.Report.Hint != "" {
		message += " (hint: " + printable(last.Report.Hint) + ")"
	}
	switch l.State {
	case string(driver.Stopped):
		message = strings.TrimSuffix("the guest is stopped: "+message, ": -")
		if l.Console != "" {
			message += "; its console: " + l.Console
		}
	case "gone":
		message = strings.TrimSuffix("the hypervisor has no such guest: "+message, ": -")
	}
	return last, message, ok
}

func printTable(stdout io.Writer, rows []listed, now time.Time) error {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VMID\tTOKEN\tSTEP\tSTATE\tRESULT\tAGE\tSEQUENCE\tMESSAGE")
	for _, r := range rows {
		seen := "unused"
		switch {
		case r.Unfinished:
			seen = "unfinished"
		case r.TokenSeen != nil:
			seen = "used"
		}
		step, state, result, age, sequence := "-", "-", "-", "-", "-"
		last, message, ok := r.word()
		if ok {
			rep := last.Report
			step, state, result = printable(string(rep.Step)), printable(string(rep.State)), printable(string(rep.Result))
			age = ageOf(now.Sub(last.Received))
			sequence = strconv.FormatUint(r.Progress.Sequence, 10)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Guest, seen, step, state, result, age, sequence, message)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := stdout.Write(b.Bytes())
	return err
}

// maxCell bounds how much of a guest's text one cell shows.
const maxCell = 80

// printable returns a guest's text as a cell of a table.
func printable(s string) string { return cmp.Or(termtext.Line(s, maxCell), "-") }

func ageOf(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
