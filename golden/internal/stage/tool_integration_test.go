//go:build integration

package stage

import (
	"os/exec"
	"strings"
	"testing"
)

// What is read of mmdebstrap itself is what it says.
func TestVersionOfMmdebstrap(t *testing.T) {
	said, err := exec.Command("mmdebstrap", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	tool := Tool{Name: "mmdebstrap"}
	if err := tool.resolve(t.Context()); err != nil || tool.Version != strings.TrimSpace(string(said)) {
		t.Errorf("%q, %v, want %q", tool.Version, err, said)
	}
	if perlVersion("mmdebstrap") == "" {
		t.Error("mmdebstrap is asked, which takes a quarter of a second")
	}
}
