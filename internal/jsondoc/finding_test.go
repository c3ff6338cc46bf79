package jsondoc

import (
	"errors"
	"testing"

	"github.com/felhom/felhom-golden/internal/finding"
)

func TestFindingsErr(t *testing.T) {
	warning := finding.Finding{Severity: finding.Warning, Rule: RuleKeySpelling, Path: "a", Line: 1, Column: 1, Message: "odd"}
	first := finding.Finding{Rule: RuleMissing, Path: "b.c", Line: 2, Column: 3, Message: "gone"}
	other := finding.Finding{Rule: RuleSyntax, Line: 4, Column: 5, Message: "broken"}
	tests := []struct {
		name string
		in   Findings
		want string // "" for no error
	}{
		{"none", Findings{}, ""},
		{"warning only", Findings{List: []finding.Finding{warning}}, ""},
		{"one error after a warning", Findings{List: []finding.Finding{warning, first}}, "line 2, column 3: b.c: gone"},
		{"two errors", Findings{List: []finding.Finding{first, other}}, "line 2, column 3: b.c: gone (and 1 more error)"},
		{"three errors", Findings{List: []finding.Finding{other, first, warning, other}}, "line 4, column 5: broken (and 2 more errors)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.in.Err()
			if tt.want == "" {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok || err.Error() != tt.want || len(invalid.Findings.List) != len(tt.in.List) {
				t.Errorf("got error %v, want %q with all findings", err, tt.want)
			}
		})
	}
}
