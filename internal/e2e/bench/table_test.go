package main

import (
	"strings"
	"testing"
	"time"
)

func runs(walls ...time.Duration) []sample {
	var all []sample
	for _, w := range walls {
		all = append(all, sample{Wall: w, RSS: int64(w)})
	}
	return all
}

func TestMedian(t *testing.T) {
	tests := []struct {
		name string
		all  []sample
		want time.Duration
	}{
		{"none", nil, 0},
		{"one", runs(7), 7},
		{"odd, unsorted", runs(9, 1, 5), 5},
		{"even", runs(1, 9, 5, 7), 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := median(tt.all, wall); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
			if got := medianRSS(tt.all); got != int64(tt.want) {
				t.Errorf("RSS %d, want %d", got, tt.want)
			}
		})
	}
}

func TestUncountedRoundIsDropped(t *testing.T) {
	var none samples
	none.add("case", "who", sample{}) // must not panic
	s := samples{}
	s.add("case", "who", sample{Wall: 3})
	if len(s["case"]["who"]) != 1 {
		t.Errorf("samples %v, want one", s)
	}
}

func TestAboveComparesWithinARound(t *testing.T) {
	own := []sample{{Started: 105}, {Started: 1004}, {Started: 203}}
	floor := []sample{{Started: 100}, {Started: 1000}, {Started: 200}}
	if got := above(own, floor); got != 4 {
		t.Errorf("%d, want 4: the difference of the medians would be 3", got)
	}
}

func TestTargets(t *testing.T) {
	var out strings.Builder
	err := (&printer{w: &out}).targets([]target{{"warm", 10, "ms", 9.5, 8}, {"binary", 9, "MB", 9.25, 9.25}})
	want := "\n**targets**\n\n| | target | median | lowest | |\n|---|---|---|---|---|\n" +
		"| warm | ≤ 10 ms | 9.50 ms | 8.00 ms | yes |\n| binary | ≤ 9 MB | 9.25 MB | 9.25 MB | **no** |\n"
	if out.String() != want || err != nil {
		t.Errorf("%s (error %v), want\n%s", &out, err, want)
	}
}

func TestSpread(t *testing.T) {
	for want, all := range map[string][]sample{
		"2.0 ms (1.0 to 3.0)":      runs(3*time.Millisecond, time.Millisecond, 2*time.Millisecond),
		"60.50 s (60.00 to 61.00)": runs(60*time.Second, 61*time.Second),
	} {
		if got := spread(all, wall); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
