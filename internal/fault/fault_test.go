package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/felhom/felhom-golden/internal/fault"
)

func TestOf(t *testing.T) {
	cause := errors.New("cause")
	tests := []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"nil", nil, fault.None},
		{"nil with a kind stays nil", fault.Wrap(fault.Invalid, nil), fault.None},
		{"no kind", cause, fault.Failed},
		{"kind", fault.Wrap(fault.NotReady, cause), fault.NotReady},
		{"wrapped kind", fmt.Errorf("open: %w", fault.Wrap(fault.Mismatch, cause)), fault.Mismatch},
		{"outermost kind decides", fault.Wrap(fault.Invalid, fault.Wrap(fault.NotReady, cause)), fault.Invalid},
		{"joined kind", errors.Join(cause, fault.Wrap(fault.Misuse, cause)), fault.Misuse},
		{"interrupted", fmt.Errorf("pull: %w", context.Canceled), fault.Interrupted},
		{"deadline", fmt.Errorf("pull: %w", context.DeadlineExceeded), fault.NotReady},
		{"kind of a deadline", fault.Wrap(fault.Failed, context.DeadlineExceeded), fault.Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault.Of(tt.err); got != tt.want {
				t.Errorf("kind %v, want %v", got, tt.want)
			}
		})
	}
}

func TestHintOf(t *testing.T) {
	inner := fault.WrapHint(fault.NotReady, errors.New("cause"), "start it")
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"nil", nil, ""},
		{"no kind", errors.New("cause"), ""},
		{"kind without hint", fault.Wrap(fault.Failed, errors.New("cause")), ""},
		{"hint below a kind without one", fault.Wrap(fault.Failed, fmt.Errorf("apply: %w", inner)), "start it"},
		{"outer hint hides the inner", fault.WrapHint(fault.Failed, inner, "look at it"), "look at it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault.HintOf(tt.err); got != tt.want {
				t.Errorf("hint %q, want %q", got, tt.want)
			}
		})
	}
}

// Reports and result files carry the class, so each kind needs one of those
// that docs/exit-codes.md names.
func TestClass(t *testing.T) {
	want := map[fault.Kind]string{
		fault.None: "ok", fault.Failed: "failed", fault.Misuse: "misuse",
		fault.Invalid: "refused", fault.NotFound: "refused", fault.Exists: "refused",
		fault.Mismatch: "verification", fault.NotReady: "not-ready", fault.Busy: "not-ready",
		fault.Interrupted: "interrupted", fault.Kind(-1): "failed", fault.Kind(99): "failed",
	}
	for kind, class := range want {
		if got := kind.Class(); got != class {
			t.Errorf("class of %v is %q, want %q", kind, got, class)
		}
	}
}
