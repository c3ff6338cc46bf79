package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/bootstrapper/internal/engineunit"
	"github.com/felhom/felhom-golden/bootstrapper/internal/hostapi"
	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/bootstrapper/internal/retry"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/localapi"
)

// How long the program waits at its end for reports to be delivered. The rest
// is kept on disk for the next run.
const (
	reportsLimit = 15 * time.Second // a busy or restarting host
	noHostLimit  = 2 * time.Second  // one that this run has not reached at all, or a program that must end
)

// apply makes one run, or with keepTrying as many as it takes.
func apply(ctx context.Context, o applyOptions, stderr io.Writer) (err error) {
	engine, err := docker.New(o.dockerHost)
	if err != nil {
		return fault.Wrap(fault.Misuse, err)
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	reporter := hostapi.NewReporter(filepath.Join(o.root, hostapi.BacklogFile), version)
	limit := noHostLimit
	defer func() {
		if lost, closeErr := reporter.Close(limit); lost > 0 {
			newTalk(stderr, "").undelivered(lost, closeErr == nil)
			err = errors.Join(err, closeErr)
		}
	}()
	if o.keepTrying {
		return keepTrying(ctx, o, engine, reporter, stderr)
	}
	end, _ := once(ctx, o, engine, reporter, stderr, retry.Try{Number: 1})
	if !end.Unreached && ctx.Err() == nil {
		limit = reportsLimit
	}
	return end.Err
}

// once makes one run, from taking the lock to writing the record.
func once(ctx context.Context, o applyOptions, engine *docker.Client, reporter *hostapi.Reporter, stderr io.Writer, try retry.Try) (end retry.End, out bootstrap.Outcomes) {
	release, err := record.Lock(filepath.Join(o.root, record.LockFile))
	if held, ok := errors.AsType[*record.HeldError](err); ok {
		return retry.End{Err: fault.WrapHint(fault.NotReady, held, "wait for it: "+program+" status --wait")}, out
	}
	if err != nil {
		return retry.End{Err: err}, out
	}
	defer func() { end.Err = errors.Join(end.Err, release()) }()

	if err := record.Sweep(filepath.Join(o.root, record.File)); err != nil {
		return retry.End{Err: err}, out
	}
	t := newTalk(stderr, rand.Text()[:16])
	started := time.Now()
	var runErr error
	out, runErr = bootstrap.Run(ctx, bootstrap.Options{
		EngineUnit: engineUnit(o),
		Root:       o.root, Socket: strings.TrimPrefix(o.dockerHost, "unix://"),
		NetworkWait: o.networkWait, EngineWait: o.engineWait, PullPatience: o.pullPatience, ReadyWait: o.readyWait, Stale: try.Stale,
		Connected: func(host *localapi.Client) { t.reportTo(reporter, host) },
	}, engine, t)
	result := resultOf(t.run, started, out, runErr)
	end = retry.End{Err: runErr, Unreached: unreachable(result), Blind: errors.Is(runErr, bootstrap.ErrUnreadable)}
	if o.keepTrying {
		result.Try = try.Number
		if next := try.Next(end); next > 0 {
			result.NextTry = result.Finished.Add(next).Truncate(time.Second)
		}
	}
	result.Boot = bootOf(o.root, started)
	t.finish(result)
	end.Owed = reporter.Idle() // the last state is among those to deliver now
	end.Err = errors.Join(runErr, record.Write(filepath.Join(o.root, record.File), result))
	return end, out
}

// engineUnit returns the function that reads the state of the engine's unit, nil
// if the engine or the root is not this guest's own.
func engineUnit(o applyOptions) func(context.Context) (engineunit.State, error) {
	if o.root != "/" || o.dockerHost != "unix://"+bootstrap.EngineSocket && o.dockerHost != "unix:///var"+bootstrap.EngineSocket {
		return nil
	}
	return engineunit.Unit{Log: engineunit.LogFile, Status: engineunit.StatusFile}.State
}

// resultOf returns the record of a run.
func resultOf(id string, started time.Time, out bootstrap.Outcomes, err error) record.Result {
	kind := fault.Of(err)
	r := record.Result{
		Run: id, Program: version, Started: started.UTC(), Finished: time.Now().UTC(), ExitCode: int(exit.OfKind(kind)), Class: kind.Class(),
		Result: string(weightiest(out.Steps)), Image: out.Image, ImageID: out.ImageID, Container: out.Container, Kept: out.Kept, Steps: []record.Step{},
	}
	if err != nil {
		r.Message, r.Hint = err.Error(), fault.HintOf(err)
	}
	for _, s := range out.Steps {
		r.Steps = append(r.Steps, record.Step{
			Step: string(s.Step), Result: string(s.Outcome), Message: s.Message, Hint: s.Hint,
			StartMS: milliseconds(s.Started.Sub(started)), DurationMS: milliseconds(s.Duration),
		})
	}
	return r
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func weightiest(steps []bootstrap.StepResult) bootstrap.Outcome {
	order := []bootstrap.Outcome{bootstrap.Unchanged, bootstrap.Changed, bootstrap.Repaired, bootstrap.Degraded, bootstrap.Failed}
	most := 0
	for _, s := range steps {
		for i, o := range order {
			if s.Outcome == o {
				most = max(most, i)
			}
		}
	}
	return order[most]
}

// validate checks one file as apply would. Findings go to stderr.
func validate(root, file string, stderr io.Writer) error {
	if file == "" {
		file = filepath.Join(root, bootstrap.MountDir, bootstrap.ConfigFile)
	} else if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("read %s: there is no such file", file),
			"name an existing file, or leave FILE out for the one in the mount")
	}
	_, warnings, err := bootstrap.Check(bootstrap.Options{Root: root}, file)
	for _, w := range warnings {
		_, _ = fmt.Fprintf(stderr, "%s: warning: %s\n", program, w) // there is no other place to report it
	}
	return err
}

func stateOf(r bootstrap.StepResult) (contract.State, contract.Result) {
	switch r.Outcome {
	case bootstrap.Failed:
		return contract.StateFailed, contract.ResultNone
	case bootstrap.Degraded:
		return contract.StateDegraded, contract.ResultNone
	}
	return contract.StateDone, contract.Result(r.Outcome)
}
