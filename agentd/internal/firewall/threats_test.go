package firewall_test

import "testing"

// TestThreats has the part of a row of docs/security.md that the firewall of PVE
// answers for, by its name there.
func TestThreats(t *testing.T) {
	t.Run("firewall switched on, address changed", firewallOfPVE)
}
