package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/fault"
)

const (
	// keepEvery is how often the daemon looks at the host's keys and addresses, and
	// mountsEvery at what is to be done in mounts.
	keepEvery   = 2 * time.Second
	mountsEvery = time.Minute

	// tokenRetry is for how long a guest is left alone that could not be given a
	// new token: each try has a line in the audit log.
	tokenRetry = time.Hour

	// owedRetry is for how long a guest without a token waits for the next try: a
	// command that has it, or a damaged mount, prevented the last one. A try that has a
	// line in the audit log is repeated with the other mounts.
	owedRetry = 5 * time.Second
)

// keeper keeps what the daemon shows, and what guests are told of it, in step
// with the host's keys, certificates and addresses; and replaces tokens when
// they are old.
type keeper struct {
	cfg     config.Config
	logger  *logrus.Logger
	store   *guests.Store
	mounts  *provision.Provisioner
	service *service

	host    host
	pending map[int]bool // guests whose mounts may not have what the host is now; nil: any
	looked  time.Time    // at the mounts
	// isElsewhere reports whether a guest is on another node, whose daemon writes
	// its mount: nodes may share the directory of the mounts.
	isElsewhere func(vmid int) bool
	said        map[int]string
	failed      map[int]time.Time // when a new token could not be given last
	ancestry    *ancestry         // nil: clones and rollbacks are not looked for
	isOwing     bool              // a guest has no token, and could not be given one
}

// theHost stands for the host itself in keeper.said.
const theHost = 0

func newKeeper(cfg config.Config, h host, store *guests.Store, logger *logrus.Logger, s *service) *keeper {
	store.Observe(auditChanges(cfg))
	isElsewhere := func(vmid int) bool { return pct.IsElsewhere(pct.DefaultDir, vmid) }
	if cfg.Hypervisor == config.HypervisorLXC {
		isElsewhere = func(int) bool { return false }
	}
	return &keeper{
		isElsewhere: isElsewhere,
		cfg:         cfg, logger: logger, store: store, service: s, host: h, said: map[int]string{}, failed: map[int]time.Time{},
		mounts: provision.New(provision.Options{
			Store: store, Mounts: mountsOf(cfg), StateDir: cfg.StateDir, Overlap: cfg.Limits.TokenOverlap, Now: time.Now,
			Root: driver.IDs{UID: cfg.IDMapBase, GID: cfg.IDMapBase},
		}),
	}
}

func (k *keeper) run(ctx context.Context, set *listener.Set) {
	ticks := time.NewTicker(keepEvery)
	defer ticks.Stop()
	for isNoticed := false; ; {
		hasNew := k.ancestry.look(ctx, isNoticed)
		hasNew = k.endTokens(ctx) || hasNew
		if !isNoticed || hasNew { // a notice is of a guest's configuration, and says nothing of keys and addresses
			k.follow(ctx, set)
		}
		isNoticed = false
		if since := time.Since(k.looked); since >= mountsEvery || since < 0 || hasNew || k.isOwing && since >= owedRetry {
			k.renewMounts(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-k.ancestry.changes():
			isNoticed = true
		case <-ticks.C:
		}
	}
}

// follow makes the daemon show what the host is now.
func (k *keeper) follow(ctx context.Context, set *listener.Set) {
	h, err := openHost(ctx, k.cfg, time.Now)
	if err != nil {
		k.say(ctx, theHost, err) // it continues with what it has
		return
	}
	isMoved := !slices.Equal(h.addrs, k.host.addrs)
	if !isMoved && bytes.Equal(h.certificates(), k.host.certificates()) {
		k.say(ctx, theHost, nil)
		return
	}
	if isMoved {
		if err := set.Follow(ctx, h.addrs); err != nil {
			k.say(ctx, theHost, err)
			return
		}
	}
	isSameKey := h.pins()[0] == k.host.pins()[0]
	k.host, k.pending = h, nil
	if isSameKey && !isMoved {
		// Engines trust certificates: they need the renewed one first. The one
		// before stays in the mounts until it ends.
		k.renewMounts(ctx)
		k.service.show(h)
	} else {
		// Guests pin both keys: they need the new address or key to be served.
		k.service.show(h)
		k.renewMounts(ctx)
	}
	k.say(ctx, theHost, nil)
}

// endTokens ends those tokens that must not be used on, whatever keeps the guests
// from getting new ones, and reports whether there were any. What cannot be ended now
// is tried again.
func (k *keeper) endTokens(ctx context.Context) (hasNew bool) {
	for _, vmid := range k.ancestry.overdue() {
		_, err := k.store.End(ctx, vmid)
		if err == nil || errors.Is(err, guests.ErrNotFound) {
			hasNew, err = true, k.ancestry.ended(vmid)
		}
		if err != nil {
			k.say(ctx, vmid, err)
		}
	}
	return hasNew
}

// renewMounts writes the mounts that are not what they must be. Those that
// cannot be written now are tried again.
func (k *keeper) renewMounts(ctx context.Context) {
	k.looked = time.Now()
	records, _, err := k.store.List()
	if err != nil {
		k.say(ctx, theHost, err)
		return
	}
	isAny := k.pending == nil
	k.isOwing = false
	pending := map[int]bool{}
	what := provision.Renewal{Host: provision.Host{Endpoint: k.host.endpoint(), Pins: k.host.pins()}, Certificates: k.host.certificates(), Token: k.due}
	for _, r := range records {
		// The profile is in the mount: a guest for which it decides is looked at.
		isDue, _ := k.due(r, contract.ProfilePlain)
		if ctx.Err() != nil || !isAny && !k.pending[r.VMID] && !isDue {
			continue
		}
		if k.isElsewhere(r.VMID) {
			pending[r.VMID] = true // it may come here
			continue
		}
		now := what
		_, mustEnd := k.ancestry.ends(r.VMID)
		if since := time.Since(k.failed[r.VMID]); since >= 0 && since < tokenRetry && !mustEnd && !r.IsOwed {
			now.Token = nil
		}
		done, err := k.mounts.Renew(ctx, r.VMID, now)
		if mustEnd {
			err = k.ended(ctx, r, done, err)
		}
		switch {
		case errors.Is(err, guests.ErrNotFound):
			err = nil // it was removed meanwhile
		case errors.Is(err, provision.ErrNoMount):
			err, pending[r.VMID] = nil, true // it is another node's, and may come here
		case err != nil:
			pending[r.VMID] = true
			k.isOwing = k.isOwing || r.IsOwed && !done.WasMinted
			if isDue && now.Token != nil {
				k.failed[r.VMID] = time.Now()
			}
		}
		k.say(ctx, r.VMID, err)
		if err == nil && done.IsWritten {
			k.logger.WithFields(logrus.Fields{"guest": r.VMID, "new_token": done.HasToken}).Info("config mount renewed")
		}
	}
	if ctx.Err() == nil {
		k.pending = pending
	}
}

// ended notes that the guest whose disk was copied has a new token. Without a mount
// for one, those of before end.
func (k *keeper) ended(ctx context.Context, r guests.Record, done provision.Renewed, err error) error {
	switch {
	case err == nil && (done.HasToken || r.IsRevoked()):
		return k.ancestry.ended(r.VMID)
	case errors.Is(err, provision.ErrNoMount):
		if _, err := k.store.End(ctx, r.VMID); err != nil && !errors.Is(err, guests.ErrNotFound) {
			return err
		}
		return errors.Join(err, k.ancestry.ended(r.VMID))
	}
	return err
}

// due is [provision.Renewal.Token] for what happened to the guest's disk, and for
// tokens.rotate_every. The current token of
// a guest never ends by its age: a guest that was off, or a host that was, finds
// a valid one in the mount. Only the one before it does, and not before the
// guest had the time that a rotation by hand gives it.
func (k *keeper) due(r guests.Record, profile contract.Profile) (isDue bool, overlap time.Duration) {
	if overlap, mustEnd := k.ancestry.ends(r.VMID); mustEnd || r.IsOwed {
		return true, overlap
	}
	every, age := k.cfg.Tokens.RotateEvery, time.Since(r.Current.Minted)
	// A token from the future is one of a clock that was wrong.
	if every == 0 || r.IsRevoked() || age >= -every && age < every {
		return false, 0
	}
	if profile != contract.ProfilePlain && r.Current.FirstUsed == nil && r.Previous != nil {
		return false, 0 // the guest has not read this one: another is of no use
	}
	return true, r.OverlapOf(profile, time.Now(), k.cfg.Limits.TokenOverlap, k.cfg.Tokens.ExpireAfter)
}

// say logs what went wrong with a guest, or with the host, once.
func (k *keeper) say(ctx context.Context, vmid int, err error) {
	switch {
	case err == nil:
		delete(k.said, vmid)
		return
	case ctx.Err() != nil, k.said[vmid] == err.Error():
		return
	}
	k.said[vmid] = err.Error()
	entry := k.logger.WithError(err)
	if hint := fault.HintOf(err); hint != "" {
		entry = entry.WithField("hint", hint)
	}
	if vmid == theHost {
		entry.Error("what this host shows is not up to date; tried again every few seconds")
		return
	}
	entry.WithField("guest", vmid).Warn(fmt.Sprintf("config mount not renewed; tried again every %v", mountsEvery))
}
