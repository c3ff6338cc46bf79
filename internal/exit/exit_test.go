package exit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/felhom/felhom-golden/internal/exit"
)

func TestOf(t *testing.T) {
	cause := errors.New("cause")
	tests := []struct {
		name string
		err  error
		want exit.Code
	}{
		{"nil", nil, exit.OK},
		{"nil with a class stays nil", exit.With(exit.Refused, nil), exit.OK},
		{"no class", cause, exit.Failed},
		{"class", exit.With(exit.NotReady, cause), exit.NotReady},
		{"wrapped class", fmt.Errorf("open: %w", exit.With(exit.Verification, cause)), exit.Verification},
		{"outermost class decides", exit.With(exit.Refused, exit.With(exit.NotReady, cause)), exit.Refused},
		{"joined class", errors.Join(cause, exit.With(exit.Misuse, cause)), exit.Misuse},
		{"interrupted", fmt.Errorf("pull: %w", context.Canceled), exit.Interrupted},
		{"deadline", fmt.Errorf("pull: %w", context.DeadlineExceeded), exit.NotReady},
		{"class of a deadline", exit.With(exit.Failed, context.DeadlineExceeded), exit.Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exit.Of(tt.err); got != tt.want {
				t.Errorf("class %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	inner := exit.WithHint(exit.NotReady, errors.New("no answer\nfrom the engine"), "start it:\n  systemctl start docker")
	err := exit.With(exit.Failed, fmt.Errorf("apply: %w", inner))
	var out bytes.Buffer
	code := exit.Print(&out, "prog", err)
	want := "prog: apply: no answer\nprog: from the engine\nprog: hint: start it:\nprog: hint:   systemctl start docker\n"
	if out.String() != want || code != exit.Failed {
		t.Errorf("code %v, printed\n%s\nwant\n%s", code, out.String(), want)
	}
	out.Reset()
	if code := exit.Print(&out, "prog", nil); code != exit.OK || out.Len() != 0 {
		t.Errorf("nil error: code %v, printed %q", code, out.String())
	}
}

// The table in docs/exit-codes.md is what scripts and units are written
// against; a code that is missing there, or named otherwise, is a broken
// promise.
func TestDocsTableAgrees(t *testing.T) {
	doc, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(doc), -1)
	if len(rows) != 7 {
		t.Fatalf("%d rows in the table of docs/exit-codes.md, want 7", len(rows))
	}
	for _, row := range rows {
		var code int
		if _, err := fmt.Sscan(row[1], &code); err != nil {
			t.Fatal(err)
		}
		if got := exit.Code(code).String(); got != row[2] {
			t.Errorf("code %d is %q in the code and %q in the table", code, got, row[2])
		}
	}
}
