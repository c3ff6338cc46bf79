package verify

import (
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/rules"
)

// The table and the code agree: paths or a check for each rule, and no others.
func TestChecksMatchTable(t *testing.T) {
	all := checks()
	for _, r := range rules.All() {
		if all[r.ID] == nil && len(r.Paths()) == 0 {
			t.Errorf("rule %s has no check", r.ID)
		}
		delete(all, r.ID)
	}
	for id := range all {
		t.Errorf("check for unknown rule %s", id)
	}
}
