//go:build integration

package lxc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/fault"
)

// cancelledBy is a context that is cancelled in the middle of a command: by the
// first program that is run, or by the first time limit that is made of it.
type cancelledBy struct {
	context.Context //nolint:containedctx // it is one
	program, limit  func()
}

func (c cancelledBy) Done() <-chan struct{} {
	c.program()
	return c.Context.Done()
}

func (c cancelledBy) Deadline() (time.Time, bool) {
	c.limit()
	return c.Context.Deadline()
}

// TestCancelled: a command that is interrupted in the middle says so, and not
// that the guest or the host is at fault.
func TestCancelled(t *testing.T) {
	b := newBed(t)
	vmid := testbed.VMIDs(t, 1)[0]
	spec := driver.Spec{Archive: b.archive, Net: driver.Net{Bridge: b.bridge}}
	if err := b.Restore(t.Context(), vmid, spec, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.remove(t, vmid) })
	want := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) || fault.Of(err) != fault.Interrupted {
			t.Errorf("%s: error %v of class %v, want the interruption", what, err, fault.Of(err))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	want("check", b.Check(cancelledBy{ctx, cancel, func() {}}, vmid, spec))
	ctx, cancel = context.WithCancel(t.Context())
	want("start", b.Start(cancelledBy{ctx, func() {}, cancel}, vmid))
	if err := b.Start(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	want("shutdown", b.Shutdown(cancelledBy{ctx, func() {}, cancel}, vmid, time.Minute))
}
