package driver

import (
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/fault"
)

// The ways in which a hypervisor refuses. Drivers wrap them with [Fault] or
// [Faultf], followed by the hypervisor's own text; callers compare with
// errors.Is.
var (
	ErrNotFound   = errors.New("no such guest")                                       // final
	ErrExists     = errors.New("a guest of that VMID already exists")                 // final
	ErrRunning    = errors.New("the guest is running")                                // final until it is stopped
	ErrNotRunning = errors.New("the guest is not running")                            // final until it is started
	ErrBusy       = errors.New("another task holds the guest")                        // may pass
	ErrNotReady   = errors.New("the hypervisor is not ready")                         // may pass: quorum, service
	ErrNoBridge   = errors.New("there is no such bridge")                             // final until it is made
	ErrNoStorage  = errors.New("the storage cannot take guests")                      // final
	ErrNoSpace    = errors.New("there is not enough space")                           // final until some is freed
	ErrArchive    = errors.New("the archive cannot be restored")                      // final
	ErrPending    = errors.New("the change waits for the guest's next start")         // final until a restart
	ErrStart      = errors.New("the guest does not start")                            // perhaps
	ErrStop       = errors.New("the guest does not stop")                             // perhaps
	ErrProtected  = errors.New("the guest is protected or managed by something else") // final: protection, HA, replication, template
	ErrRefused    = errors.New("the hypervisor refuses the setting")                  // final
	ErrPartial    = errors.New("an interrupted restore left a part of the guest")     // final until Discard
)

// ErrWrongHost is an ErrNotReady that no later try corrects: a program must be
// installed, or the host or the call changed.
var ErrWrongHost error = wrongHost{}

type wrongHost struct{}

func (wrongHost) Error() string { return ErrNotReady.Error() }
func (wrongHost) Unwrap() error { return ErrNotReady }

// kinds holds the kind of each refusal; those that are not in it are failures.
// The first that is in the chain counts.
var kinds = []struct {
	err  error
	kind fault.Kind
}{
	{ErrWrongHost, fault.Failed},
	{ErrNotReady, fault.NotReady},
	{ErrBusy, fault.Busy},
	{ErrNotFound, fault.NotFound},
	{ErrNoBridge, fault.NotFound},
	{ErrExists, fault.Exists},
	{ErrNoStorage, fault.Invalid},
	{ErrArchive, fault.Invalid},
	{ErrRefused, fault.Invalid},
	{ErrNoClone, fault.Invalid},
	{ErrInUse, fault.Busy},
}

// Fault gives err the kind of class and a hint. err need not have class in its
// chain. A nil err stays nil.
func Fault(class error, hint string, err error) error {
	for _, k := range kinds {
		if errors.Is(class, k.err) {
			return fault.WrapHint(k.kind, err, hint)
		}
	}
	return fault.WrapHint(fault.Failed, err, hint)
}

// Faultf returns an error of class: its text, then the formatted one.
func Faultf(class error, hint, format string, args ...any) error {
	return Fault(class, hint, fmt.Errorf("%w: %w", class, fmt.Errorf(format, args...)))
}

// NoGuest returns the refusal of a guest that does not exist.
func NoGuest(vmid int) error {
	return Fault(ErrNotFound, "felhom-agentd guest list shows the guests of this host", fmt.Errorf("guest %d: %w", vmid, ErrNotFound))
}
