package progress

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func TestPlainLinesAreWholeAndSparse(t *testing.T) {
	var out bytes.Buffer
	c := &clock{t: time.Unix(1000, 0)}
	p := New(&out, Options{Now: c.now})
	s := p.Start("image")
	for i := range 30 {
		c.advance(time.Second)
		s.Bytes(int64(i+1)<<20, 30<<20)
	}
	s.Done("changed", "pulled\x1b[2J")
	want := `image      10.0 MiB of 30.0 MiB, 1.0 MiB/s, 20s left
image      20.0 MiB of 30.0 MiB, 1.0 MiB/s, 10s left
image      30.0 MiB of 30.0 MiB, 1.0 MiB/s
image      changed        30s  pulled\x1b[2J
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestCountIsShownWithTheTimeSinceStart(t *testing.T) {
	for terminal, want := range map[bool]string{
		false: "base       installed 10 of 30 packages, 10s\nbase       installed 20 of 30 packages, 20s\n",
		true:  "\r\x1b[Kbase       …\r\x1b[Kbase       [......",
	} {
		var out bytes.Buffer
		c := &clock{t: time.Unix(1000, 0)}
		s := New(&out, Options{Now: c.now, Terminal: terminal}).Start("base")
		for i := range 25 {
			c.advance(time.Second)
			s.Count(fmt.Sprintf("installed %d of 30 packages", i+1), int64(i+1), 30)
		}
		if got := out.String(); !strings.HasPrefix(got, want) || terminal != strings.Contains(got, "] installed 25 of 30 packages, 25s") {
			t.Errorf("terminal %v: got %q", terminal, got)
		}
	}
}

func TestTerminalRedrawsOneLineNoWiderThanItIs(t *testing.T) {
	var out bytes.Buffer
	c := &clock{t: time.Unix(1000, 0)}
	p := New(&out, Options{Terminal: true, Width: 40, Now: c.now})
	s := p.Start("image")
	s.Note(strings.Repeat("x", 200))
	c.advance(time.Second)
	s.Bytes(1<<20, 4<<20)
	s.Done("changed", "")
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d line ends, want 1: %q", n, out.String())
	}
	for part := range strings.SplitSeq(out.String(), "\r\x1b[K") {
		if len([]rune(part)) > 40 {
			t.Errorf("drawn line is wider than 40 columns: %q", part)
		}
	}
	if !strings.Contains(out.String(), "[#####...............]") {
		t.Errorf("no quarter bar in %q", out.String())
	}
}

func TestMeterStartsAgainWhenTheCountGoesBack(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	m := Meter{Now: c.now}
	m.Update(0, 100)
	c.advance(time.Second)
	if e := m.Update(50, 100); e.Rate != 50 || e.Left != time.Second {
		t.Errorf("after 50 bytes in a second: %+v, want rate 50 and 1 s left", e)
	}
	c.advance(time.Second)
	if e := m.Update(10, 100); e.Rate != 0 || e.Left != 0 {
		t.Errorf("after the count went back: %+v, want nothing known", e)
	}
}

func TestBytes(t *testing.T) {
	for _, test := range []struct {
		n    int64
		want string
	}{{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {27 << 20, "27.0 MiB"}, {5 << 50, "5.0 PiB"}} {
		if got := Bytes(test.n); got != test.want {
			t.Errorf("Bytes(%d) = %q, want %q", test.n, got, test.want)
		}
	}
}

// TestSilenceIsShownAndNoRate: counts that come again do not make a rate of the
// past look like the present one.
func TestSilenceIsShownAndNoRate(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	m := Meter{Now: c.now}
	m.Update(0, 8<<20)
	c.advance(4 * time.Second)
	if got, want := m.Update(4<<20, 8<<20).String(), "4.0 MiB of 8.0 MiB, 1.0 MiB/s, 4s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 8 { // an engine's messages of a slow pull are this far apart
		c.advance(time.Second)
		m.Update(4<<20, 8<<20)
	}
	if got, want := m.Update(4<<20, 8<<20).String(), "4.0 MiB of 8.0 MiB, 1.0 MiB/s, 4s left"; got != want {
		t.Errorf("after 8s got %q, want %q", got, want)
	}
	c.advance(34 * time.Second)
	if got, want := m.Update(4<<20, 8<<20).String(), "4.0 MiB of 8.0 MiB, nothing new for 42s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.advance(22 * time.Second)
	if got, want := m.Update(6<<20, 8<<20).String(), "6.0 MiB of 8.0 MiB, 32.0 KiB/s, 1m4s left"; got != want {
		t.Errorf("when it continues got %q, want %q", got, want)
	}
	if got, want := m.Update(8<<20, 8<<20), "8.0 MiB of 8.0 MiB"; !strings.HasPrefix(got.String(), want) || got.IsIdle() {
		t.Errorf("at the end got %q, want %q", got, want)
	}
}
