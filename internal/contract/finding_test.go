package contract

import (
	"errors"
	"testing"
)

func TestFindingsErr(t *testing.T) {
	warning := Finding{Severity: Warning, Rule: RulePinRepeated, Path: "a", Line: 1, Column: 1, Message: "odd"}
	first := Finding{Rule: RuleMissing, Path: "b.c", Line: 2, Column: 3, Message: "gone"}
	other := Finding{Rule: RuleSyntax, Line: 4, Column: 5, Message: "broken"}
	tests := []struct {
		name string
		in   Findings
		want string // "" for no error
	}{
		{"none", nil, ""},
		{"warning only", Findings{warning}, ""},
		{"one error after a warning", Findings{warning, first}, "line 2, column 3: b.c: gone"},
		{"two errors", Findings{first, other}, "line 2, column 3: b.c: gone (and 1 more error)"},
		{"three errors", Findings{other, first, warning, other}, "line 4, column 5: broken (and 2 more errors)"},
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
			if !ok || err.Error() != tt.want || len(invalid.Findings) != len(tt.in) {
				t.Errorf("got error %v, want %q with all findings", err, tt.want)
			}
		})
	}
}
