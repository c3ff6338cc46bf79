package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestAPITableJudgesEachTarget(t *testing.T) {
	good := apiResults{
		own: []load{{900, 20 * time.Microsecond}}, peer: []load{{1000, 15 * time.Microsecond}},
		ownNew: []load{{500, 300 * time.Microsecond}}, peerNew: []load{{500, 300 * time.Microsecond}},
		idle: 15e6, stored: 10, crowd: []time.Duration{time.Millisecond}, flood: []time.Duration{time.Millisecond},
	}
	bad := apiResults{
		own: []load{{100, 30 * time.Microsecond}}, peer: []load{{1000, 15 * time.Microsecond}},
		ownNew: []load{{500, time.Millisecond}}, peerNew: []load{{500, 300 * time.Microsecond}},
		idle: 17e6, stored: 9, crowd: []time.Duration{time.Second}, flood: []time.Duration{time.Second},
	}
	for _, c := range []struct {
		results  apiResults
		yes, not int
	}{{good, 7, 0}, {bad, 0, 7}} {
		var b strings.Builder
		if err := c.results.print(&b, 10, options{rounds: 1}); err != nil {
			t.Fatal(err)
		}
		if yes, not := strings.Count(b.String(), "| yes |"), strings.Count(b.String(), "**no**"); yes != c.yes || not != c.not {
			t.Errorf("%d yes and %d no, want %d and %d:\n%s", yes, not, c.yes, c.not, b.String())
		}
	}
}

func TestWithin(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i))
	}
	if got := within(all, .99); got != 100 {
		t.Errorf("99 of 100 are within %d, want 100", got)
	}
	if within(nil, .99) != 0 {
		t.Error("of nothing: not 0")
	}
}

// The figures are those of a process that certainly lives: this one.
func TestFiguresOfAProcess(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < time.Minute; {
		if now, err := cpuOf(os.Getpid()); err != nil || now > before {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if bytes, err := residentBytes(os.Getpid()); err != nil || bytes < 1<<20 {
		t.Errorf("%d bytes, %v", bytes, err)
	}
	if _, err := residentBytes(0); err == nil {
		t.Error("there is a process 0")
	}
}
