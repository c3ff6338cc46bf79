package overview

import (
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/rollout"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Rollout is a rollout that has not ended.
type Rollout struct {
	Image  string        `json:"image"`
	State  rollout.State `json:"state"` // of the guest whose row this is; "" if this is of no guest
	Wave   int           `json:"wave"`  // the number of the wave that is at work, or is next
	Waves  int           `json:"waves"`
	Done   int           `json:"done"`    // guests
	Failed int           `json:"failed"`  // guests
	Left   int           `json:"left"`    // guests
	IsHeld bool          `json:"at_work"` // a process works on it

	guests []rollout.Guest
}

// Rollout returns the rollout of this host that has not ended; nil: there is none.
func (s Source) Rollout() (*Rollout, error) {
	status, err := rollout.New(rollout.Options{StateDir: s.StateDir}).Status()
	if err != nil || status == nil {
		return nil, err
	}
	return &Rollout{
		Image: status.Image, Wave: status.Wave, Waves: status.Waves,
		Done: status.Healthy + status.Written, Failed: status.Failed, Left: status.Left, IsHeld: status.IsHeld, guests: status.Guests,
	}, nil
}

// Join gives each row of a guest of the rollout its part; a nil Rollout has none.
func (r *Rollout) Join(rows []Row) {
	if r == nil {
		return
	}
	states := map[int]rollout.State{}
	for _, g := range r.guests {
		states[g.VMID] = g.State
	}
	for i := range rows {
		if state, ok := states[rows[i].Guest]; ok {
			part := *r
			part.State = state
			rows[i].Rollout = &part
		}
	}
}

// Text returns how far the rollout is, in a line that acts on no terminal.
func (r Rollout) Text() string {
	text := fmt.Sprintf("rollout of %s: wave %d of %d, %d done, %d failed, %d left", termtext.Line(r.Image, maxMessage), r.Wave, r.Waves, r.Done, r.Failed, r.Left)
	if r.IsHeld {
		return text + "; it is at work"
	}
	return text + "; it has stopped: felhom-agentd guest rollout --resume continues it, --abandon forgets it"
}
