//go:build integration

package main

import (
	"strings"
	"testing"
	"time"
)

// A small fleet, with real daemons: no report is lost, each guest pulls, and no old token works.
func TestSmallFleet(t *testing.T) {
	var stdout, stderr strings.Builder
	o := options{dist: "../../../dist", nodes: 2, each: 3, window: 2 * time.Second}
	if err := benchFleet(t.Context(), o, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for _, want := range []string{"within 2s | 84 |", "layers | 6 |", "refused | 6 |"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is missing:\n%s", want, stdout.String())
		}
	}
}
