package stage

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/debroot"
)

// The status of a dpkg that failed is in the message.
func TestClassifyNamesTheStatusOfDpkg(t *testing.T) {
	err := classify("apt or dpkg", &debroot.DpkgError{Code: 2}, "dpkg: error processing package p", &Plan{})
	if err == nil || !strings.Contains(err.Error(), "ended with status 2: dpkg: error processing package p") {
		t.Errorf("got %v", err)
	}
}
