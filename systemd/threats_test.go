package systemd

import "testing"

// TestThreats has the row of docs/security.md that the units answer for, by its
// name there.
func TestThreats(t *testing.T) {
	t.Run("agent bug = root on the host", func(t *testing.T) {
		t.Run("sandbox", sandbox)
		t.Run("exposure", exposureLimits)
	})
}
