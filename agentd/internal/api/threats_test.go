package api_test

import "testing"

// TestThreats has the rows of docs/security.md that the routes answer for, by
// their names there.
func TestThreats(t *testing.T) {
	t.Run("guest reads another guest's storage", everyRouteForEveryPair)
	t.Run("lock-out of A by B's failures", failuresOfASource)
	t.Run("inner container gets a session", noAnswerHasASession)
}
