package contract

import (
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/felhom/felhom-golden/internal/pin"
)

// diffBootstrap returns how two values differ, telling an empty list from an
// absent one.
func diffBootstrap(want, got Bootstrap) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(pin.Pin{}, Endpoint{}, ImageRef{}, Digest{}))
}
