//go:build integration

package command_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFish asks fish what it would offer.
func TestFish(t *testing.T) {
	dir, env := shellDirectory(t)
	for _, tt := range completions {
		program, _, _ := strings.Cut(tt.line, " ")
		script := fmt.Sprintf("source %s/%s.fish; complete -C '%s' | string replace -r '\\t.*' ''; true", scripts(t, "fish"), program, tt.line)
		if got := offers(t, dir, env, "fish", "--no-config", "-c", script); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.line, got, tt.want)
		}
	}
}

// TestZsh types the line into an interactive zsh, on a terminal of its own, and presses Tab.
func TestZsh(t *testing.T) {
	dir, env := shellDirectory(t)
	press, err := filepath.Abs("testdata/complete.zsh")
	if err != nil {
		t.Fatal(err)
	}
	argv := []string{"zsh", "-f", press, scripts(t, "zsh")}
	want := map[string]bool{}
	for _, tt := range completions {
		argv = append(argv, tt.line)
		for _, offer := range tt.want {
			want[tt.line+"|"+offer] = true
		}
	}
	got := map[string]bool{}
	for _, offer := range offers(t, dir, env, argv...) {
		got[offer] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line and offer (-want +got):\n%s", diff)
	}
}
