package rules_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/rules"
)

func TestTableIsWellFormed(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	order := map[rules.Group]int{rules.Archive: 0, rules.Identity: 1, rules.Residue: 2, rules.Files: 3, rules.Boot: 4}
	seen, last := map[string]bool{}, 0
	for _, r := range rules.All() {
		if !kebab.MatchString(r.ID) || seen[r.ID] {
			t.Errorf("rule %q: want a kebab-case name that is not taken", r.ID)
		}
		seen[r.ID] = true
		if r.Severity != rules.Error && r.Severity != rules.Warning {
			t.Errorf("rule %s: severity %q", r.ID, r.Severity)
		}
		at, known := order[r.Group]
		if !known || at < last {
			t.Errorf("rule %s: group %q unknown or out of order", r.ID, r.Group)
		}
		last = max(last, at)
		if r.Reason == "" || r.Check == "" {
			t.Errorf("rule %s: reason and check must say something", r.ID)
		}
		for _, text := range []string{r.Reason, r.Seal, r.Check} {
			if strings.HasSuffix(text, ".") || strings.Contains(text, "\n") {
				t.Errorf("rule %s: %q: want one line without a full stop", r.ID, text)
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d rules, want at least 50: is a group missing from All?", len(seen))
	}
}

func TestByID(t *testing.T) {
	if r, ok := rules.ByID("machine-id"); !ok || r.ID != "machine-id" {
		t.Errorf("ByID(machine-id) = %+v, %v", r, ok)
	}
	if _, ok := rules.ByID("no-such-rule"); ok {
		t.Error("ByID found a rule that does not exist")
	}
}
