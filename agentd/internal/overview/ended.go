package overview

import (
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// maxFaultText bounds what is said of a damaged mount.
const maxFaultText = 200

// ended returns what keeps a guest whose tokens ended with its disk from having a
// new one; "" if the guest is owed none.
func (s Source) ended(r guests.Record) string {
	if !r.IsOwed {
		return ""
	}
	text := "its tokens have ended, because its disk is not the one that they were given to"
	if s.MountFault != nil {
		if err := s.MountFault(r.VMID); err != nil {
			text = "its config mount is damaged (" + termtext.Line(err.Error(), maxFaultText) + "), and " + text
		}
	}
	return text + fmt.Sprintf(" (felhom-agentd guest rotate %d writes a new one)", r.VMID)
}
