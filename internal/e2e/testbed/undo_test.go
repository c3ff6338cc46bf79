package testbed

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUndoRunsEveryStepLastFirstAndOnce(t *testing.T) {
	var u undo
	var got []string
	first, third := errors.New("first"), errors.New("third")
	u.push(func() error { got = append(got, "first"); return first })
	u.push(func() error { got = append(got, "second"); return nil })
	u.push(func() error { got = append(got, "third"); return third })

	err := u.run()
	if diff := cmp.Diff([]string{"third", "second", "first"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if !errors.Is(err, first) || !errors.Is(err, third) || !strings.HasPrefix(err.Error(), "third") {
		t.Errorf("error %v, want both, in the order they happened", err)
	}
	if err := u.run(); err != nil || len(got) != 3 {
		t.Errorf("second run: error %v, %d steps in all; want nothing left to do", err, len(got))
	}
}

func TestUndoStepMayPushMore(t *testing.T) {
	var u undo
	ran := false
	u.push(func() error { u.push(func() error { ran = true; return nil }); return nil })
	if err := u.run(); err != nil || !ran {
		t.Errorf("error %v, ran %v; want the pushed step to run as well", err, ran)
	}
}
