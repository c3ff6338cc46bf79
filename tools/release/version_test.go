package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	for in, want := range map[string]string{
		"v0.2.0":                 "0.2.0",
		"v0.2.0-rc1":             "0.2.0~rc1",
		"v0.2.0-rc.2":            "0.2.0~rc.2",
		"v0.2.0-12-g072b106":     "0.2.0+12.g072b106",
		"v0.2.0-rc1-3-g072b106":  "0.2.0~rc1+3.g072b106",
		"v0.2.0-3-gabc123-dirty": "0.2.0+3.gabc123+dirty",
		"v10.20.30-dirty":        "10.20.30+dirty",
	} {
		if v, err := parseVersion(in); err != nil || v.debian != want || v.text != in[1:] {
			t.Errorf("%s: want %s, got %+v, %v", in, want, v, err)
		}
	}
	for _, in := range []string{"", "072b106", "0.2.0", "v0.2", "v0.2.0-", "v0.2.0/..", "v0.2.0 ", "v0.2.0\n", "v0.2.0-rc1-gabc", "unknown", "v0.2.0-x1"} {
		if v, err := parseVersion(in); err == nil || !strings.Contains(err.Error(), "make release VERSION=") {
			t.Errorf("%q: want an error with a hint, got %+v, %v", in, v, err)
		}
	}
}

// Debian's own order of the versions is the order in time.
func TestVersionOrder(t *testing.T) {
	ordered := []string{"v0.1.9", "v0.2.0-rc1", "v0.2.0-rc1-3-g072b106", "v0.2.0-rc2", "v0.2.0", "v0.2.0-1-gffffff", "v0.2.0-12-g000000", "v0.2.1"}
	for i := range len(ordered) - 1 {
		var v [2]version
		for k := range v {
			var err error
			if v[k], err = parseVersion(ordered[i+k]); err != nil {
				t.Fatal(err)
			}
		}
		if err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", v[0].debian, "lt", v[1].debian).Run(); err != nil {
			t.Errorf("%s is not before %s: %v", v[0].debian, v[1].debian, err)
		}
	}
}
