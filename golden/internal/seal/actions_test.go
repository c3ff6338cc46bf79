package seal

import (
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/rules"
)

// The table and the code agree: an action for each rule with a Seal text, and
// none besides.
func TestActionsMatchTable(t *testing.T) {
	all := actions()
	for _, r := range rules.All() {
		if _, ok := all[r.ID]; ok != (r.Seal != "") {
			t.Errorf("rule %s: action %v, text %q", r.ID, ok, r.Seal)
		}
		delete(all, r.ID)
	}
	for id := range all {
		t.Errorf("action for unknown rule %s", id)
	}
}
