package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/pin"
)

// Host is the part of the local API that the channel step needs.
type Host interface {
	// Guest asks which guest the host takes the caller for. A
	// *pin.MismatchError and a *localapi.StatusError of 401 or 403 are final.
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
	stale       <-chan struct{} // closed: the contract has changed since
	nics        func() []nic    // the guest's own; nil: not known
}

// leaseNote is how long an address may be missing before that is reported: a
// lease at boot comes within a second.
const leaseNote = 3 * time.Second

// ask asks the host, and repeats that while there is no network to it. late is how
// long the guest had no address for it, 0 if it had one.
func (s channelStep) ask(ctx context.Context, note func(string)) (me contract.Guest, late time.Duration, err error) {
	began, pause := time.Now(), backoff{first: 50 * time.Millisecond, most: 500 * time.Millisecond}
	noted, said := false, false
	for {
		me, err = s.host.Guest(ctx)
		if err == nil || answered(err) {
			return me, late, err
		}
		why, _ := s.unaddressed()
		if why == "" && !noNetwork(err) || time.Since(began)+pause.next > s.networkWait {
			return me, late, err
		}
		if why != "" {
			late = time.Since(began)
		}
		switch {
		case why != "" && late >= leaseNote && !said:
			said = true
			note(fmt.Sprintf("waiting for the network: %s", why))
		case !noted && !said:
			note(fmt.Sprintf("waiting for the network: %v", err))
		}
		noted = true
		switch waitErr := pause.wait(ctx, 0, s.stale); {
		case errors.Is(waitErr, errStale):
			return me, late, err
		case waitErr != nil:
			return me, late, waitErr
		}
	}
}

// unaddressed returns why this guest has no network to the host, and what to do; "" if it has one.
func (s channelStep) unaddressed() (why, hint string) {
	if s.nics == nil {
		return "", ""
	}
	return unaddressed(s.nics(), s.endpoint)
}

// answered reports whether err is an answer from the endpoint.
func answered(err error) bool {
	_, isMismatch := errors.AsType[*pin.MismatchError](err)
	_, isStatus := errors.AsType[*localapi.StatusError](err)
	return isMismatch || isStatus
}

// noNetwork reports whether err comes from an early run and not from a host that is down: there is no route
// yet, no address to send from, or no reachable name server.
func noNetwork(err error) bool {
	if errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENETDOWN) {
		return true
	}
	name, ok := errors.AsType[*net.DNSError](err)
	return ok && name.IsTemporary
}

func (s channelStep) run(ctx context.Context, note func(string)) (outcome, error) {
	me, late, err := s.ask(ctx, note)
	if mismatch, ok := errors.AsType[*pin.MismatchError](err); ok {
		return outcome{}, fault.WrapHint(fault.Mismatch, fmt.Errorf("local API at %s: %w", s.endpoint, mismatch),
			"another server answers at that address, or the host has a new key: on the host, compare with felhom-agentd pin and write this guest's mount again (felhom-agentd guest add VMID)")
	}
	if status, ok := errors.AsType[*localapi.StatusError](err); ok {
		switch status.Code {
		case 401:
			return outcome{}, fault.WrapHint(fault.Mismatch, fmt.Errorf("local API at %s: %w", s.endpoint, status),
				"the host does not know the token in bootstrap.json: on the host, felhom-agentd guest add VMID writes a new one")
		case 403:
			return outcome{}, fault.WrapHint(fault.Mismatch, fmt.Errorf("local API at %s: %w", s.endpoint, status),
				"the token is another guest's: on the host, check which directory is mounted into this guest")
		}
		text := fmt.Sprintf("the host answers %d, continuing without it", status.Code)
		if status.Message != "" {
			text += ": " + status.Message
		}
		return outcome{Degraded, text, "look at felhom-agentd's log on the host"}, nil
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return outcome{}, err
		}
		if why, hint := s.unaddressed(); why != "" {
			return outcome{Degraded, fmt.Sprintf("the host cannot be reached, continuing without it: %s", why), hint}, nil
		}
		return outcome{
			Degraded, fmt.Sprintf("the host cannot be reached, continuing without it: %v", err),
			"check that felhom-agentd runs on the host and that its address and port are open to this guest",
		}, nil
	}
	if s.guestID != 0 && me.Guest != s.guestID {
		return outcome{}, fault.WrapHint(fault.Mismatch,
			fmt.Errorf("local API at %s: the host takes this guest for %d, bootstrap.json says guest_id %d", s.endpoint, me.Guest, s.guestID),
			"on the host, check which directory is mounted into this guest")
	}
	text := fmt.Sprintf("host knows us as guest %d", me.Guest)
	if late >= leaseNote {
		text += fmt.Sprintf("; this guest had no address for the first %s", late.Round(time.Second))
	}
	return outcome{Outcome: Unchanged, Message: text}, nil
}
