package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/progress"
)

// teller prints steps as they happen.
type teller struct {
	printer *progress.Printer
	stages  map[string]*progress.Stage
}

func newTeller(stderr io.Writer) *teller {
	o := progress.Options{}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		o.Terminal = true
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			o.Width = width
		}
	}
	return &teller{printer: progress.New(stderr, o), stages: map[string]*progress.Stage{}}
}

func stageName(vmid int, step provision.Step) string { return fmt.Sprintf("%d %-7s", vmid, step) }

func (t *teller) stage(vmid int, step provision.Step) *progress.Stage {
	name := stageName(vmid, step)
	if t.stages[name] == nil {
		t.stages[name] = t.printer.Start(name)
	}
	return t.stages[name]
}

// Started implements provision.Observer.
func (t *teller) Started(vmid int, step provision.Step) { t.stage(vmid, step) }

// Bytes implements provision.Observer.
func (t *teller) Bytes(vmid int, step provision.Step, done, total int64) {
	t.stage(vmid, step).Bytes(done, total)
}

// Note implements provision.Observer.
func (t *teller) Note(vmid int, step provision.Step, text string) { t.stage(vmid, step).Note(text) }

// silent shows nothing.
type silent struct{}

func (silent) Started(int, provision.Step)                     {}
func (silent) Bytes(int, provision.Step, int64, int64)         {}
func (silent) Note(int, provision.Step, string)                {}
func (silent) Ended(int, provision.Step, provision.StepResult) {}

// Ended implements provision.Observer.
func (t *teller) Ended(vmid int, step provision.Step, r provision.StepResult) {
	t.stage(vmid, step).Done(r.Word, r.Detail)
	delete(t.stages, stageName(vmid, step))
}
