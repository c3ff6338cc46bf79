package main

import (
	"os"
	"testing"
	"time"
)

func TestParseStart(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       time.Duration
		ok         bool
	}{
		{"init", "1 (systemd) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 9 9", 12340 * time.Millisecond, true},
		{"name with a parenthesis", "9 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 50 9 9", 500 * time.Millisecond, true},
		{"cut short", "1 (systemd) S 0 1", 0, false},
		{"no name", "", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := parseStart(test.text); got != test.want || ok != test.ok {
				t.Errorf("%s, %v, want %s, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

// loaded is when this process had started, or a little later.
var loaded = time.Now()

func TestBootOf(t *testing.T) {
	began, ok := startOf(os.Getpid())
	init, okInit := startOf(1)
	if !ok || !okInit {
		t.Fatal("no start of this process or of init")
	}
	boot := bootOf(t.TempDir(), time.Now())
	if boot == nil {
		t.Fatal("nothing is known of the boot")
	}
	const most = 10_000 // from the process' begin to loaded, on a busy machine
	if own := milliseconds(began - init); boot.RunMS < own || boot.RunMS > own+milliseconds(time.Since(loaded))+most || boot.EngineMS != 0 {
		t.Errorf("%+v, want a little more than %v and no engine", boot, own)
	}
}
