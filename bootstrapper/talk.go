package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
	"golang.org/x/term"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/bootstrapper/internal/hostapi"
	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// talk reports what a run does to the terminal or journal, to systemd and to
// the host. It is the one place where a run is logged.
type talk struct {
	run      string
	terminal bool
	printer  *progress.Printer
	log      *logrus.Logger

	mu       sync.Mutex
	stages   map[contract.Step]*progress.Stage
	notes    map[contract.Step]string // the last of each step that goes to the host
	told     time.Time                // last STATUS= of a pull
	sent     time.Time                // last report of a step that continues
	every    time.Duration            // between two of those reports
	reporter *hostapi.Reporter
}

// statusEvery bounds how often systemd's status line shows the bytes.
const statusEvery = time.Second

// reportEvery bounds how often the host gets the bytes of a pull. A pull that
// takes less time is not worth a report.
const reportEvery = 5 * time.Second

func newTalk(stderr io.Writer, run string) *talk {
	t := &talk{run: run, stages: map[contract.Step]*progress.Stage{}, notes: map[contract.Step]string{}, every: reportEvery, log: logrus.New()}
	t.log.SetOutput(stderr)
	f, isFile := stderr.(*os.File)
	switch {
	case isFile && term.IsTerminal(int(f.Fd())):
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			width = 80
		}
		t.terminal = true
		t.printer = progress.New(stderr, progress.Options{Terminal: true, Width: width})
	case isFile && isJournal(f):
		t.log.SetOutput(io.Discard)
		t.log.AddHook(journalHook{})
		t.printer = progress.New(nil, progress.Options{})
	default:
		t.log.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
		t.printer = progress.New(nil, progress.Options{})
	}
	return t
}

// isJournal reports whether f is the stream that systemd connected to the journal.
func isJournal(f *os.File) bool {
	device, inode, ok := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	if !ok || !journal.Enabled() {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && strconv.FormatUint(st.Dev, 10) == device && strconv.FormatUint(st.Ino, 10) == inode
}

// reportTo sends the states of this run to host through r.
func (t *talk) reportTo(r *hostapi.Reporter, host *localapi.Client) {
	r.Begin(host, t.run)
	t.mu.Lock()
	t.reporter = r
	t.mu.Unlock()
	// The mount step ended before the host was known.
	r.Send(contract.Report{Step: contract.StepMount, State: contract.StateDone, Result: contract.ResultUnchanged})
}

func (t *talk) send(report contract.Report) {
	t.mu.Lock()
	r := t.reporter
	t.mu.Unlock()
	if r != nil {
		r.Send(report)
	}
}

func (t *talk) stage(step contract.Step) *progress.Stage {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stages[step]
	if s == nil {
		s = t.printer.Start(string(step))
		t.stages[step] = s
	}
	return s
}

// Started implements bootstrap.Observer.
func (t *talk) Started(step contract.Step) {
	t.stage(step)
	notify(string(step))
	t.send(contract.Report{Step: step, State: contract.StateStarted})
}

// Note implements bootstrap.Observer.
func (t *talk) Note(step contract.Step, text string) {
	t.stage(step).Note(text)
	notify(string(step) + ": " + text)
	if !strings.HasPrefix(text, "warning: ") {
		t.mu.Lock()
		t.notes[step], t.sent = text, time.Now()
		t.mu.Unlock()
		t.send(contract.Report{Step: step, State: contract.StateStarted, Message: text})
	}
	if !t.terminal {
		entry := t.log.WithField("step", string(step))
		if warning, ok := strings.CutPrefix(text, "warning: "); ok {
			entry.Warn(warning)
			return
		}
		entry.Info(text)
		return
	}
	if strings.HasPrefix(text, "warning: ") {
		t.printer.Line("           " + text)
	}
}

// Bytes implements bootstrap.Observer.
func (t *talk) Bytes(step contract.Step, done, total int64) {
	estimate := t.stage(step).Bytes(done, total)
	t.mu.Lock()
	now := time.Now()
	isStatusDue := now.Sub(t.told) >= statusEvery
	if isStatusDue {
		t.told = now
	}
	isReportDue := now.Sub(t.sent) >= t.every
	if isReportDue {
		t.sent = now
	}
	text := estimate.String()
	if note := t.notes[step]; note != "" {
		text = note + ": " + text
	}
	t.mu.Unlock()
	if isStatusDue {
		notify(string(step) + ": " + text)
	}
	if isReportDue {
		t.send(contract.Report{Step: step, State: contract.StateStarted, Message: text})
	}
}

// Ended implements bootstrap.Observer.
func (t *talk) Ended(r bootstrap.StepResult) {
	state, result := stateOf(r)
	detail := r.Message
	if state == contract.StateFailed {
		detail = "" // the program's last lines have it, with the hint
	}
	t.stage(r.Step).Done(string(r.Outcome), detail)
	if !t.terminal {
		entry := t.log.WithFields(logrus.Fields{
			"step": string(r.Step), "result": string(r.Outcome), "duration_ms": float64(r.Duration.Microseconds()) / 1000,
		})
		text := r.Message
		if text == "" {
			text = string(r.Outcome)
		}
		switch r.Outcome {
		case bootstrap.Failed:
			// Its text is in the program's last lines, once.
			entry.WithFields(logrus.Fields{"class": r.Class.Class(), "exit_code": int(exit.OfKind(r.Class)), "hint": r.Hint}).Error("failed")
		case bootstrap.Degraded:
			entry.WithField("hint", r.Hint).Warn(text)
		default:
			entry.Info(text)
		}
	}
	report := contract.Report{
		Step: r.Step, State: state, Result: result, Message: r.Message, Hint: r.Hint, DurationMS: r.Duration.Milliseconds(),
	}
	if state == contract.StateFailed {
		report.Class, report.ExitCode = r.Class.Class(), int(exit.OfKind(r.Class))
	}
	t.send(report)
}

// finish prints how the run ended.
func (t *talk) finish(r record.Result) {
	took := r.Finished.Sub(r.Started)
	notify(fmt.Sprintf("%s in %s", r.Result, progress.Duration(took)))
	if t.terminal {
		t.printer.Line(fmt.Sprintf("%-10s %-9s %8s", "run", r.Result, progress.Duration(took)))
	} else {
		t.log.WithFields(logrus.Fields{
			"step": "run", "result": r.Result, "duration_ms": took.Milliseconds(), "exit_code": r.ExitCode, "class": r.Class,
		}).Info("run ended")
	}
	state, result := contract.StateDone, contract.Result(r.Result)
	switch {
	case r.ExitCode != int(exit.OK):
		state, result = contract.StateFailed, contract.ResultNone
	case r.Result == string(bootstrap.Degraded):
		state, result = contract.StateDegraded, contract.ResultNone
	}
	message := r.Message
	if r.Kept != "" {
		message = contract.StillRuns(r.Kept, message)
	}
	t.send(contract.Report{
		Step: contract.StepRun, State: state, Result: result, Message: message, Hint: r.Hint,
		Class: r.Class, ExitCode: r.ExitCode, DurationMS: took.Milliseconds(),
	})
}

// undelivered prints how many reports the host did not get, and whether they were kept.
func (t *talk) undelivered(count int, kept bool) {
	then := "the next run delivers what is left"
	if !kept {
		then = "what is left could not be kept either; the next run reports its own"
	}
	t.note(fmt.Sprintf("undelivered reports: %d; %s", count, then), map[string]any{"undelivered": count})
}

// note prints what happens between two runs.
func (t *talk) note(text string, fields map[string]any) {
	if t.terminal {
		t.printer.Line(fmt.Sprintf("%-10s %s", contract.StepRun, text))
		return
	}
	entry := t.log.WithField("step", string(contract.StepRun)).WithFields(fields)
	if len(fields) > 0 {
		entry.Warn(text)
		return
	}
	entry.Info(text)
}

func unreachable(r record.Result) bool {
	for _, s := range r.Steps {
		if s.Step == string(contract.StepChannel) {
			return s.Result == string(bootstrap.Degraded)
		}
	}
	return false
}

// notify sets systemd's status line. Without systemd it does nothing, and its
// failure must not fail the run.
func notify(text string) {
	_, _ = daemon.SdNotify(false, "STATUS="+termtext.Line(text, 0))
}

// journalHook sends entries to the journal with their fields.
type journalHook struct{}

func (journalHook) Levels() []logrus.Level { return logrus.AllLevels }

func (journalHook) Fire(e *logrus.Entry) error {
	priority := journal.PriInfo
	switch {
	case e.Level <= logrus.ErrorLevel:
		priority = journal.PriErr
	case e.Level == logrus.WarnLevel:
		priority = journal.PriWarning
	}
	fields := map[string]string{"SYSLOG_IDENTIFIER": program}
	for name, value := range e.Data {
		fields["FELHOM_"+strings.ToUpper(name)] = fmt.Sprint(value)
	}
	text := e.Message
	if step, ok := e.Data["step"]; ok {
		text = fmt.Sprintf("%v: %s", step, text)
	}
	return journal.Send(text, priority, fields)
}
