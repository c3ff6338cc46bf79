// Package progress shows what a long command is doing: stages with their
// durations, and inside a stage the bytes done, the rate and the time left.
// Call [New], then [Printer.Start] for each stage. On a terminal it redraws one
// line; elsewhere it prints whole lines, so that a log file stays readable.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/termtext"
)

// Options configure [New]. The zero Options draw plain lines.
type Options struct {
	Terminal bool             // redraw the current line; the caller knows whether w is one
	Width    int              // columns of the terminal; 0: 80
	Quiet    time.Duration    // least time between two plain byte lines; 0: 10 s
	Now      func() time.Time // time.Now where nil
}

// redraw is the least time between two redraws on a terminal: a reader sees no more.
const redraw = 100 * time.Millisecond

// Printer prints stages to one writer. Its methods may be called from several
// goroutines. A write that fails is dropped: progress must not fail the work.
type Printer struct {
	mu     sync.Mutex
	w      io.Writer
	opts   Options
	dirty  bool // the terminal's current line holds an unfinished stage
	silent bool
}

// New returns a Printer on w. A nil w prints nothing.
func New(w io.Writer, opts Options) *Printer {
	if opts.Width <= 0 {
		opts.Width = 80
	}
	if opts.Quiet <= 0 {
		opts.Quiet = 10 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Printer{w: w, opts: opts, silent: w == nil}
}

// Stage is one named part of the work, from Start to Done.
type Stage struct {
	p       *Printer
	name    string
	started time.Time
	drawn   time.Time
	meter   Meter
}

// Start begins a stage. On a terminal the stage is shown at once; elsewhere a
// quick stage prints only its last line.
func (p *Printer) Start(name string) *Stage {
	now := p.opts.Now()
	s := &Stage{p: p, name: name, started: now, drawn: now}
	s.meter.Now = p.opts.Now
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opts.Terminal {
		p.line("%-10s …", name)
	}
	return s
}

// Note shows what the stage does now, such as "pulling gitea.example/a:1".
func (s *Stage) Note(text string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.opts.Terminal {
		s.p.line("%-10s %s", s.name, termtext.Line(text, 0))
		return
	}
	s.p.whole("%-10s %s", s.name, termtext.Line(text, 0))
}

// Bytes shows how far the stage is: done of total bytes, total 0 if it is not
// known. It returns the estimate that it shows.
func (s *Stage) Bytes(done, total int64) Estimate {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	e := s.meter.Update(done, total)
	if !s.due(s.p.opts.Now()) {
		return e
	}
	if s.p.opts.Terminal {
		s.p.line("%-10s %s %s", s.name, bar(done, total, 20), e)
	} else {
		s.p.whole("%-10s %s", s.name, e)
	}
	return e
}

// Count shows how far a stage is that does not count bytes. text is, for
// example, "installed 3 of 95 packages"; the time since Start is added.
func (s *Stage) Count(text string, done, total int64) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	now := s.p.opts.Now()
	if !s.due(now) {
		return
	}
	text = termtext.Line(text, 0) + ", " + now.Sub(s.started).Round(time.Second).String()
	if s.p.opts.Terminal {
		s.p.line("%-10s %s %s", s.name, bar(done, total, 20), text)
	} else {
		s.p.whole("%-10s %s", s.name, text)
	}
}

// due reports whether something may be drawn now.
func (s *Stage) due(now time.Time) bool {
	least := s.p.opts.Quiet
	if s.p.opts.Terminal {
		least = redraw
	}
	if now.Sub(s.drawn) < least {
		return false
	}
	s.drawn = now
	return true
}

// Done ends the stage with its result, such as "unchanged", and a detail that
// may be empty. It returns how long the stage took.
func (s *Stage) Done(result, detail string) time.Duration {
	took := s.p.opts.Now().Sub(s.started)
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	text := fmt.Sprintf("%-10s %-9s %8s", s.name, result, Duration(took))
	if detail != "" {
		text += "  " + termtext.Line(detail, 0)
	}
	s.p.whole("%s", text)
	return took
}

// Line prints one whole line between stages.
func (p *Printer) Line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole("%s", termtext.Line(text, 0))
}

func (p *Printer) whole(format string, args ...any) {
	if p.silent {
		return
	}
	clear := ""
	if p.dirty {
		clear = "\r\x1b[K"
		p.dirty = false
	}
	_, _ = fmt.Fprintf(p.w, clear+format+"\n", args...) // see Printer: a failed write is dropped
}

func (p *Printer) line(format string, args ...any) {
	if p.silent {
		return
	}
	text := []rune(fmt.Sprintf(format, args...))
	if len(text) >= p.opts.Width { // a wrapped line could not be redrawn
		text = text[:p.opts.Width-1]
	}
	p.dirty = true
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", string(text)) // see Printer
}

func bar(done, total int64, width int) string {
	if total <= 0 {
		return "[" + strings.Repeat("-", width) + "]"
	}
	full := min(int(float64(width)*float64(done)/float64(total)), width)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}
