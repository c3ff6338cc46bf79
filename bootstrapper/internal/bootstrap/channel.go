package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/hostapi"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/pin"
)

// Host is the local API as the channel step needs it.
type Host interface {
	// Guest asks who the host takes us for. A *pin.MismatchError and a
	// *hostapi.StatusError of 401 or 403 are final.
	Guest(ctx context.Context) (contract.Guest, error)
}

// channelStep proves the host before any secret but its own token is used.
type channelStep struct {
	host     Host
	endpoint string
	guestID  int // 0: not known
	// networkWait is how long the network may be missing: the run begins before
	// the guest has an address.
	networkWait time.Duration
	stale       <-chan struct{} // closed: the contract is another one by now
}

// ask asks the host, and asks again for as long as there is no network to it.
func (s channelStep) ask(ctx context.Context, note func(string)) (contract.Guest, error) {
	begun, pause := time.Now(), backoff{first: 50 * time.Millisecond, most: 500 * time.Millisecond}
	for try := 0; ; try++ {
		me, err := s.host.Guest(ctx)
		if err == nil || !noNetwork(err) || time.Since(begun)+pause.next > s.networkWait {
			return me, err
		}
		if try == 0 {
			note(fmt.Sprintf("waiting for the network: %v", err))
		}
		switch waitErr := pause.wait(ctx, 0, s.stale); {
		case errors.Is(waitErr, errStale):
			return me, err
		case waitErr != nil:
			return me, waitErr
		}
	}
}

// noNetwork tells an early run from a host that is down: there is no route yet,
// no address to send from, or no name server that is reached.
func noNetwork(err error) bool {
	if errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENETDOWN) {
		return true
	}
	name, ok := errors.AsType[*net.DNSError](err)
	return ok && name.IsTemporary
}

func (s channelStep) run(ctx context.Context, note func(string)) (outcome, error) {
	me, err := s.ask(ctx, note)
	if mismatch, ok := errors.AsType[*pin.MismatchError](err); ok {
		return outcome{}, exit.WithHint(exit.Verification, fmt.Errorf("local API at %s: %w", s.endpoint, mismatch),
			"somebody else answers at that address, or the host has a new key: on the host, compare with felhom-agentd pin and write this guest's mount anew (felhom-agentd guest add VMID)")
	}
	if status, ok := errors.AsType[*hostapi.StatusError](err); ok {
		switch status.Code {
		case 401:
			return outcome{}, exit.WithHint(exit.Verification, fmt.Errorf("local API at %s: %w", s.endpoint, status),
				"the host does not know the token in bootstrap.json: on the host, felhom-agentd guest add VMID writes a new one")
		case 403:
			return outcome{}, exit.WithHint(exit.Verification, fmt.Errorf("local API at %s: %w", s.endpoint, status),
				"the token is another guest's: on the host, check which folder is mounted into this guest")
		}
		text := fmt.Sprintf("the host answers %d, going on without it", status.Code)
		if status.Message != "" {
			text += ": " + status.Message
		}
		return outcome{Degraded, text, "look at felhom-agentd's log on the host"}, nil
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return outcome{}, err
		}
		return outcome{
			Degraded, fmt.Sprintf("the host cannot be reached, going on without it: %v", err),
			"check that felhom-agentd runs on the host and that its address and port are open to this guest",
		}, nil
	}
	if s.guestID != 0 && me.Guest != s.guestID {
		return outcome{}, exit.WithHint(exit.Verification,
			fmt.Errorf("local API at %s: the host takes this guest for %d, bootstrap.json says guest_id %d", s.endpoint, me.Guest, s.guestID),
			"on the host, check which folder is mounted into this guest")
	}
	return outcome{Outcome: Unchanged, Message: fmt.Sprintf("host knows us as guest %d", me.Guest)}, nil
}
