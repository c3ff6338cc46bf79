package guests_test

import "testing"

// TestThreats has the rows of docs/security.md that the store answers for, by
// their names there.
func TestThreats(t *testing.T) {
	t.Run("state file torn by power cut", powerCut)
	t.Run("timing or existence oracle", timingOracle)
	t.Run("no quorum", noQuorum)
}
