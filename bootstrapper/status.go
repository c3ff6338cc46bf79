package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/internal/termtext"
)

type statusOptions struct {
	root       string
	json, wait bool
	console    bool // in the words of a console
	timeout    time.Duration
}

// lookEvery is how often --wait looks again: a run takes a second or more.
const lookEvery = 100 * time.Millisecond

func status(ctx context.Context, o statusOptions, stdout io.Writer) error {
	r, err := recorded(ctx, o)
	if errors.Is(err, record.ErrNone) {
		return fault.WrapHint(fault.NotReady, err, "start one: systemctl start "+program+".service; or wait: "+program+" status --wait")
	}
	if err != nil {
		return err
	}
	switch {
	case o.console:
		if _, err := io.WriteString(stdout, consoleLines(r)); err != nil {
			return err
		}
	case o.json:
		data, err := record.Encode(r)
		if err != nil {
			return err
		}
		if _, err := stdout.Write(data); err != nil {
			return err
		}
	default:
		if err := printTable(stdout, r); err != nil {
			return err
		}
	}
	if r.ExitCode == int(exit.OK) {
		return nil
	}
	// The table or the JSON is the answer; the code repeats it for scripts.
	return exit.WithCode(exit.Code(r.ExitCode),
		fault.WrapHint(fault.Failed, fmt.Errorf("the last run ended with %d (%s): %s", r.ExitCode, r.Class, r.Message), r.Hint))
}

// recorded returns the last result. With --wait it waits while a run is under
// way or none has ended yet.
func recorded(ctx context.Context, o statusOptions) (record.Result, error) {
	path, lock := filepath.Join(o.root, record.File), filepath.Join(o.root, record.LockFile)
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	for {
		held := false
		if o.wait {
			var err error
			if held, err = record.Held(lock); err != nil {
				return record.Result{}, err
			}
		}
		r, err := record.Read(path)
		if !o.wait || !held && !errors.Is(err, record.ErrNone) {
			return r, err
		}
		timer := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return record.Result{}, ctx.Err()
			}
			return record.Result{}, fault.WrapHint(fault.NotReady, fmt.Errorf("no run ended within %s", o.timeout),
				"look at it: systemctl status "+program+".service")
		case <-timer.C:
		}
	}
}

// maxConsole bounds a line for the console: a message may be longer than its width.
const maxConsole = 300

// consoleLines returns how a run ended in one line, and in a second one what to do
// about a failure. They go into an issue file, where agetty expands backslashes.
func consoleLines(r record.Result) string {
	line := func(text string) string {
		return "felhom: " + strings.ReplaceAll(termtext.Line(text, maxConsole), `\`, `\\`) + "\n"
	}
	if r.ExitCode == int(exit.OK) {
		text := "the controller is up"
		if r.Image != "" {
			text += ": " + r.Image
		}
		return line(text)
	}
	first, _, _ := strings.Cut(r.Message, "\n")
	text := line("the controller is not up (" + r.Class + "): " + first)
	if r.Kept != "" {
		text += line("the one before still runs: " + r.Kept)
	}
	if hint, _, _ := strings.Cut(r.Hint, "\n"); hint != "" {
		text += line("hint: " + hint)
	}
	if !r.NextTry.IsZero() {
		text += line("next try at " + r.NextTry.Format(time.TimeOnly) + ", or as soon as the host changes the mount")
	}
	return text
}

func printTable(w io.Writer, r record.Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "STEP\tRESULT\tTIME\tDETAIL") // tabwriter keeps the first error for Flush
	for _, s := range r.Steps {
		took := time.Duration(s.DurationMS * float64(time.Millisecond))
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.Step, s.Result, progress.Duration(took), termtext.Line(s.Message, 0))
	}
	_, _ = fmt.Fprintf(table, "run\t%s\t%s\texit code %d (%s), ended %s\n", r.Result, progress.Duration(r.Finished.Sub(r.Started)),
		r.ExitCode, r.Class, r.Finished.Format(time.RFC3339))
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Kept != "" {
		if _, err := fmt.Fprintf(w, "the controller before still runs: %s\n", termtext.Line(r.Kept, 0)); err != nil {
			return err
		}
	}
	if r.NextTry.IsZero() {
		return nil
	}
	_, err := fmt.Fprintf(w, "try %d; next try at %s, or as soon as the mount changes\n", r.Try, r.NextTry.Format(time.RFC3339))
	return err
}
