package pct_test

import (
	"os"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Who tries again on exit 5 would do so for ever on a host that does not fit.
func TestNotReadyForGood(t *testing.T) {
	cases := []struct {
		name   string
		change func(*testing.T, *pcttest.Node, *pct.Options)
		want   fault.Kind
		words  string
	}{
		{"no pct", func(_ *testing.T, _ *pcttest.Node, o *pct.Options) { o.Pct = "pct-of-none" }, fault.Failed, "pct-of-none is not installed"},
		{"other node's name", func(_ *testing.T, _ *pcttest.Node, o *pct.Options) { o.Node, o.UnixSockets = "web", "/nonexistent" }, fault.Failed, "hostname lookup 'web' failed"},
		{"not root", func(t *testing.T, n *pcttest.Node, o *pct.Options) {
			t.Helper()
			o.Pct = n.Bin("pct-user")
			if err := os.WriteFile(o.Pct, []byte("#!/bin/sh\necho please run as root >&2\nexit 255\n"), 0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
		}, fault.Failed, "please run as root"},
		{"no quorum", func(_ *testing.T, n *pcttest.Node, _ *pct.Options) { n.SetFaults(pcttest.Faults{NoQuorum: true}) }, fault.NotReady, "no quorum?"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n, _ := newDriver(t)
			n.SetConfig(vmid, guestConfig)
			o := options(n)
			c.change(t, n, &o)
			d, err := pct.New(o)
			if err != nil {
				t.Fatal(err)
			}
			err = d.Start(t.Context(), vmid)
			wantClass(t, err, driver.ErrNotReady, c.words)
			if fault.Of(err) != c.want || fault.HintOf(err) == "" {
				t.Errorf("class %s, hint %q, of %v", fault.Of(err), fault.HintOf(err), err)
			}
		})
	}
	for _, version := range []string{"6.0.9", "5.3.0", ""} {
		t.Run("pve-container "+version, func(t *testing.T) {
			n, d := newDriver(t)
			n.SetPackage("pve-container", version)
			err := d.Check(t.Context(), vmid, spec())
			wantClass(t, err, driver.ErrNotReady)
			if fault.Of(err) != fault.Failed {
				t.Errorf("class %s of %v", fault.Of(err), err)
			}
		})
	}
}
