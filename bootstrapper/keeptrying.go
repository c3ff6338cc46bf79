package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/bootstrapper/internal/hostapi"
	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/bootstrapper/internal/retry"
	"github.com/felhom/felhom-golden/bootstrapper/internal/watch"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// keepTrying makes runs until no later try, and no change by the host, could
// change the result. The unit runs it.
func keepTrying(ctx context.Context, o applyOptions, engine *docker.Client, reporter *hostapi.Reporter, stderr io.Writer) (err error) {
	mount := filepath.Join(o.root, bootstrap.MountDir)
	source, err := watch.New(mount, bootstrap.ConfigFile, bootstrap.TemplateName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	watching, stop := context.WithCancel(ctx)
	defer func() { stop() }()
	loop := retry.New(retry.Options{
		Source: source, HostPatience: o.hostPatience,
		Run: func(ctx context.Context, try retry.Try) retry.End {
			if try.Number > 1 {
				notify(fmt.Sprintf("try %d", try.Number))
			}
			stop() // of the previous try
			watching, stop = context.WithCancel(ctx)
			end, out := once(ctx, o, engine, reporter, stderr, try)
			if out.Unready {
				end.Recovered = bootstrap.Recovered(watching, engine, out.Container)
			}
			return end
		},
		Owing:     func(end retry.End) { owing(stderr, end, o.hostPatience) },
		Waiting:   func(end retry.End, next time.Duration) { waiting(stderr, end, next) },
		Recovered: func(retry.End) { newTalk(stderr, "").note("the controller has become ready", nil) },
		Gone: func(end retry.End) {
			text := mount + " was taken away; the next mount starts a new run"
			notify(text)
			newTalk(stderr, "").note(text, nil)
		},
	})
	err = errors.Join(loop.Run(ctx), noNextTry(filepath.Join(o.root, record.File)))
	if err == nil {
		ready("") // a unit of Type=notify that ends with success must have been ready
	}
	return err
}

// noNextTry removes the planned try from the record: the process ends before
// it.
func noNextTry(file string) error {
	r, err := record.Read(file)
	if err != nil || r.NextTry.IsZero() {
		return nil //nolint:nilerr // no record to correct, or one that this process could not write
	}
	r.NextTry = time.Time{}
	return record.Write(file, r)
}

// waiting prints the wait before the next try. The unit counts as started from
// now on: the boot must not wait for something that may take hours.
func waiting(stderr io.Writer, end retry.End, next time.Duration) {
	what := "the host is not reached"
	if end.Err != nil {
		what, _, _ = strings.Cut(end.Err.Error(), "\n")
	}
	when := fmt.Sprintf("next try at %s, or as soon as the mount changes", time.Now().Add(next).Format(time.TimeOnly))
	ready(what + "; " + when)
	t := newTalk(stderr, "")
	if end.Err == nil { // the run has reported it already
		t.note(when, nil)
		return
	}
	text := end.Err.Error() + "; " + when
	hint := fault.HintOf(end.Err)
	if hint != "" { // a journal that is read as text shows no fields
		text += "\nhint: " + strings.ReplaceAll(hint, "\n", "\nhint: ")
	}
	t.note(text, map[string]any{
		"class": fault.Of(end.Err).Class(), "hint": hint, "next_try_ms": next.Milliseconds(),
	})
}

// owing prints that the run is over and that its end is still to be reported. The
// unit counts as started meanwhile, as in a wait between two tries.
func owing(stderr io.Writer, end retry.End, limit time.Duration) {
	how := "done"
	if end.Err != nil {
		how, _, _ = strings.Cut(end.Err.Error(), "\n")
	}
	text := fmt.Sprintf("the host has not accepted the last reports yet; they are sent again for up to %s", limit)
	ready(how + "; " + text)
	newTalk(stderr, "").note(text, nil)
}

// ready signals systemd that the boot may continue; text is the status line, "" keeps it.
func ready(text string) {
	state := daemon.SdNotifyReady
	if text != "" {
		state += "\nSTATUS=" + termtext.Line(text, 0)
	}
	_, _ = daemon.SdNotify(false, state) // fails without systemd, which is fine
}
