package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/felhom/felhom-golden/internal/fault"
)

func TestAll(t *testing.T) {
	cause := errors.New("cause")
	plain := errors.New("plain")
	busy := fault.WrapHint(fault.Busy, errors.New("busy"), "wait for it")
	bad := fault.WrapHint(fault.Invalid, cause, "correct it\nin the file")
	tests := []struct {
		name, text, hint string
		errs             []error
		kind             fault.Kind
	}{
		{name: "nothing", errs: []error{nil, nil}, kind: fault.None},
		{name: "one alone", errs: []error{nil, busy}, text: "busy", hint: "wait for it", kind: fault.Busy},
		{name: "equal texts", errs: []error{busy, errors.Join(nil, busy)}, text: "busy", hint: "wait for it", kind: fault.Busy},
		{name: "two", errs: []error{bad, busy}, text: "cause\nhint: correct it\nhint: in the file\nbusy", hint: "wait for it", kind: fault.Invalid},
		{name: "joined", errs: []error{errors.Join(busy, errors.Join(bad))}, text: "busy\nhint: wait for it\ncause", hint: "correct it\nin the file", kind: fault.Invalid},
		{name: "same hint", errs: []error{busy, fmt.Errorf("again: %w", busy)}, text: "busy\nagain: busy", hint: "wait for it", kind: fault.Busy},
		{name: "the last without a hint", errs: []error{busy, plain}, text: "busy\nhint: wait for it\nplain", kind: fault.Failed},
		{name: "wrapped joins stay whole", errs: []error{fmt.Errorf("read: %w, %w", plain, cause), busy}, text: "read: plain, cause\nbusy", hint: "wait for it", kind: fault.Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := fault.All(tt.errs...)
			if got := fault.Of(err); got != tt.kind {
				t.Errorf("kind %v, want %v", got, tt.kind)
			}
			if err == nil {
				return
			}
			if got := err.Error(); got != tt.text {
				t.Errorf("text\n%s\nwant\n%s", got, tt.text)
			}
			if got := fault.HintOf(err); got != tt.hint {
				t.Errorf("hint %q, want %q", got, tt.hint)
			}
		})
	}
	if err := fault.All(busy, fmt.Errorf("read: %w", cause)); !errors.Is(err, cause) {
		t.Errorf("%v does not lead to the cause of one of them", err)
	}
}
