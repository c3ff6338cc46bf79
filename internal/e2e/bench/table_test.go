package main

import (
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
