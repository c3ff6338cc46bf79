package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFleetTable(t *testing.T) {
	r := fleetResults{
		reports: traffic{took: []time.Duration{time.Millisecond, 3 * time.Millisecond}, wall: 2 * time.Second, cpu: 4 * time.Millisecond},
		pulls:   traffic{took: []time.Duration{time.Second}}, asked: 5, sent: 2e6, memory: []int64{30e6, 10e6, 20e6},
	}
	var b strings.Builder
	if err := r.print(&b, options{nodes: 3, each: 2, window: time.Minute}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"3 daemons with 2 simulated guests each", "| reports of guests that boot within 1m0s | 2 | 2.0 s | 3.0 ms | 3.0 ms | 2.00 ms |",
		"| new tokens: written, read, used, the old one refused | 0 | 0.0 s |", "asked 5 times for 1 pulls, and sent 2.0 MB", "20.0 MB, at most 30.0 MB",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing:\n%s", want, b.String())
		}
	}
}

func TestUpstreamCountsWhatHostsAsk(t *testing.T) {
	u, err := startUpstream(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer u.server.Close()
	if len(u.paths) != 3+layerCount {
		t.Errorf("paths of a pull: %q", u.paths)
	}
	c := u.server.Client()
	for i, path := range u.paths {
		if err := getImage(t.Context(), c, u.server.URL+path, upstreamPassword); err != nil {
			t.Error(err)
		}
		if got := u.asked.Load(); got != int64(i)+1 {
			t.Errorf("after %d requests it counts %d", i+1, got)
		}
	}
	if sent := u.sent.Load(); sent < layerCount*layerBytes {
		t.Errorf("it counts %d bytes", sent)
	}
	if err := getImage(t.Context(), c, u.server.URL+u.paths[0], "wrong"); err == nil || !strings.Contains(err.Error(), http.StatusText(http.StatusUnauthorized)) {
		t.Errorf("without the password: %v", err)
	}
}

func TestFleetIsBounded(t *testing.T) {
	for _, args := range [][]string{{"-nodes", "0"}, {"-nodes", "251"}, {"-guests-of-node", "201"}, {"-window", "1h"}, {"-only", "fleets"}} {
		var b strings.Builder
		if code := start(t.Context(), append([]string{"-only", "fleet"}, args...), &b, &b); code != 2 {
			t.Errorf("%q: exit code %d\n%s", args, code, b.String())
		}
	}
}
