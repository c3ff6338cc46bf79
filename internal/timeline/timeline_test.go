package timeline

import "testing"

func TestTicksAreFewAndRound(t *testing.T) {
	for end, want := range map[float64]float64{1: 0.2, 33: 5, 800: 100, 1700: 500, 61_000: 10_000} {
		if got := tick(end); got != want {
			t.Errorf("tick(%v) = %v, want %v", end, got, want)
		}
	}
}
