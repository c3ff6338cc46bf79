package config

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// The values of provision.clone.
const (
	CloneNever  = "never"
	CloneAuto   = "auto"
	CloneAlways = "always"
)

// VMIDRange is a range of VMIDs, both ends included.
type VMIDRange struct{ First, Last int }

// DefaultTemplateVMIDs are those that templates get.
var DefaultTemplateVMIDs = VMIDRange{First: 9900, Last: 9949}

// maxTemplates is how many VMIDs a range of templates may have: each may be tried.
const maxTemplates = 1000

func (r VMIDRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// set reads FIRST-LAST.
func (r *VMIDRange) set(s string) error {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	low, err := token.ParseVMID(first)
	if err != nil {
		return fmt.Errorf("want VMIDs like %s, got %q: %w", DefaultTemplateVMIDs, s, err)
	}
	high, err := token.ParseVMID(last)
	switch {
	case err != nil:
		return fmt.Errorf("want VMIDs like %s, got %q: %w", DefaultTemplateVMIDs, s, err)
	case high < low:
		return fmt.Errorf("want the lower VMID first, got %q", s)
	case high-low >= maxTemplates:
		return fmt.Errorf("want at most %d VMIDs, got %d", maxTemplates, high-low+1)
	}
	*r = VMIDRange{low, high}
	return nil
}
