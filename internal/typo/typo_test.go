package typo_test

import (
	"testing"

	"github.com/felhom/felhom-golden/internal/typo"
)

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "xabc", 1},
		{"kitten", "sitting", 3},
		{"flaw", "lawn", 2},
		{"hub_ulr", "hub_url", 1},
	} {
		if got := typo.Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("from %q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestClosest(t *testing.T) {
	known := []string{"version", "verify", "up", "hub_url", "controller_image"}
	for _, tt := range []struct{ word, want string }{
		{"vresion", "version"},
		{"Verify", "verify"},
		{"hub_ulr", "hub_url"},
		{"controler_imgae", "controller_image"},
		{"zz", ""}, // two edits from "up", and another word
		{"something", ""},
		{"", ""},
	} {
		if got := typo.Closest(tt.word, known); got != tt.want {
			t.Errorf("%q taken for %q, want %q", tt.word, got, tt.want)
		}
	}
}
