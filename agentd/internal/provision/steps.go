package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

func (r *run) needsCheck() bool { return true }

// check finds everything that can be wrong before the first byte is written.
func (r *run) check(ctx context.Context) (StepResult, error) {
	err := r.ask()
	if r.exists {
		r.root = r.guest.Root
		if !r.isUpdate {
			return StepResult{}, err
		}
		result, staleErr := r.checkStale(err == nil)
		return result, errors.Join(err, staleErr)
	}
	all := []error{err, r.p.options.Hypervisor.Check(ctx, r.job.VMID, r.job.Spec)}
	var data []byte
	if r.job.Spec.Archive == "" {
		missing := errors.New("golden: is missing: name an archive, or set provision.golden in the configuration")
		all = append(all, fault.WrapHint(fault.Invalid, missing, "name an archive with --golden, or set provision.golden"))
	} else if data, err = r.p.options.Hypervisor.ArchiveConfig(ctx, r.job.Spec.Archive); errors.Join(all...) == nil {
		all = append(all, err) // otherwise Check has reported it
	}
	conf, _ := pctconf.Parse(data) // Check has reported what is wrong with it
	all = append(all, r.checkNetwork(ctx, conf))
	if err := errors.Join(all...); err != nil {
		return StepResult{}, err
	}
	r.text = conf.Description
	r.storage = cmp.Or(r.job.Spec.Storage, pctconf.RootStorage(conf))
	if r.p.options.Clone == CloneAlways {
		if _, err := r.p.canClone(ctx, r.cloneSpec(r.job.Spec)); err != nil {
			return StepResult{}, hinted(err, cloneHint)
		}
	}
	r.root.UID, r.root.GID, err = pctconf.RootIDs(conf)
	if err != nil {
		return StepResult{}, fault.Wrap(fault.Invalid, fmt.Errorf("%s: %w", r.job.Spec.Archive, err))
	}
	return StepResult{}, nil
}

// ask makes the bootstrap.json that the guest must have.
func (r *run) ask() error {
	record, err := r.p.options.Store.Get(r.job.VMID)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return err
	}
	if r.before, err = r.p.askedBefore(record); err != nil {
		return err
	}
	r.asked = r.job.over(r.before)
	if r.boot, err = r.p.options.Bootstrap(r.job.VMID, r.asked); err != nil {
		return err
	}
	_, err = encoded(r.boot)
	return fault.Wrap(fault.Invalid, err)
}

// checkStale finds whether bootstrap.json must be written again: because it
// would be different now, or because the guest has given up on the one it has. A
// guest whose tokens were revoked gets no new one if a specification is applied
// again. Without a known bootstrap.json only that is looked at.
func (r *run) checkStale(isKnown bool) (StepResult, error) {
	record, err := r.p.options.Store.Get(r.job.VMID)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return StepResult{}, err
	}
	if record.IsRevoked() {
		return StepResult{}, fault.WrapHint(fault.Invalid, errors.New("its tokens were revoked"),
			fmt.Sprintf("felhom-agentd guest rotate %d gives it a new one, if it is to be trusted again", r.job.VMID))
	}
	if !isKnown {
		return StepResult{}, nil
	}
	keys, err := r.p.stale(r.job.VMID, r.boot)
	if err != nil {
		return StepResult{}, err
	}
	r.isStale = len(keys) > 0
	switch {
	case r.isStale:
		return StepResult{Detail: "new in its mount: " + strings.Join(keys, ", ")}, nil
	case r.last != nil && failedForGood(*r.last):
		r.isStale = true
		return StepResult{Detail: "the guest's bootstrap had failed for good; it tries again"}, nil
	}
	return StepResult{}, nil
}

// needsBootstrap is the condition of the two steps that replace bootstrap.json.
func (r *run) needsBootstrap() bool { return !r.isUpdate || r.isStale }

func (r *run) token(ctx context.Context) (StepResult, error) {
	overlap, err := r.overlap()
	if err != nil {
		return StepResult{}, err
	}
	if r.minted, err = r.p.options.Store.Mint(ctx, r.job.VMID, r.root.UID, overlap); err != nil {
		return StepResult{}, err
	}
	return StepResult{}, r.await(ctx, r.minted.Token)
}

// overlap returns for how long the guest's token stays valid. That of an existing guest is the one
// of the controller that runs: if the change fails, it runs on with that token.
func (r *run) overlap() (time.Duration, error) {
	overlap := r.p.options.Overlap
	if !r.isUpdate {
		return overlap, nil
	}
	record, err := r.p.options.Store.Get(r.job.VMID)
	if err != nil {
		return 0, err
	}
	profile := r.boot.Profile
	if has, _, err := r.p.inMount(r.job.VMID); err != nil || has.Profile != profile {
		profile = contract.ProfileFelhom // the controller that runs may be one that keeps a token
	}
	return record.OverlapOf(profile, r.p.options.Now(), overlap, r.p.options.ExpireAfter), nil
}

// await makes sure, before the guest gets a reason to run its bootstrap, that
// whatever ends this command, the next one waits for a run that it has not
// reported yet. tok is the token of the mount.
func (r *run) await(ctx context.Context, tok token.Token) error {
	after := ""
	switch {
	case r.journal != nil:
		after = r.journal.After
	case r.last != nil:
		after = r.last.Run
	}
	if after == "" {
		return nil
	}
	return r.p.options.Store.Update(ctx, r.job.VMID, func(g *guests.Record) error {
		g.Await(tok, after)
		return nil
	})
}

// isUnread reports whether the guest has reported nothing since its mount was
// written, or it was started: by a command that was killed, or did not wait long
// enough.
func (r *run) isUnread() (bool, error) {
	if r.last == nil {
		return false, nil
	}
	record, err := r.p.options.Store.Get(r.job.VMID)
	if err != nil {
		return false, err
	}
	_, tok, err := r.p.inMount(r.job.VMID)
	return err == nil && record.Awaited(tok) == r.last.Run, err
}

func (r *run) mount(ctx context.Context) (StepResult, error) {
	was := false
	if r.journal != nil {
		was, r.journal.Mounted = r.journal.Mounted, true
		if err := r.p.journals.write(r.journal); err != nil {
			return StepResult{}, err
		}
	}
	var err error
	if r.isPut, err = r.p.putBootstrap(r.boot, r.minted, r.job.VMID, r.root); err != nil {
		if r.journal != nil && !r.isPut {
			r.journal.Mounted = was // by an earlier run, whose token is still in it
		}
		return StepResult{}, err
	}
	if r.isUpdate {
		r.outcome = Updated
	}
	// The record names an image only once the mount does: a run that ends
	// between the two is then repeated by the next.
	return StepResult{Detail: r.p.options.Mounts.Path(r.job.VMID)}, r.remember(ctx)
}

func (r *run) needsRestore() bool { return !r.isUpdate }

func (r *run) restore(ctx context.Context) (StepResult, error) {
	if r.exists {
		return StepResult{Word: "unchanged", Detail: "restored by the run before"}, nil
	}
	r.journal.Restoring = true
	// What an interrupted run wrote of a clone is not true of the guest of this one.
	r.journal.Cloning, r.journal.Template = false, 0
	if err := r.p.journals.write(r.journal); err != nil {
		return StepResult{}, err
	}
	spec := r.job.Spec
	if spec.Description == "" {
		spec.Description = r.text
	}
	spec.Description = describe(spec.Description, r.journal.ID)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var first sync.Once
	how, err := r.make(ctx, spec, func(done, total int64) {
		first.Do(func() { // this run made what the storage has of this VMID from now on
			if r.journal.Storage = r.storage; r.storage != "" {
				cancelOn(cancel, r.p.journals.write(r.journal))
			}
		})
		r.p.options.Observer.Bytes(r.job.VMID, StepRestore, done, total)
	})
	if errors.Is(err, driver.ErrExists) {
		r.journal.Restoring = false // another program made that guest, complete or partial
	}
	if err != nil {
		return StepResult{}, err
	}
	if r.guest, err = r.p.options.Hypervisor.Guest(ctx, r.job.VMID); err != nil {
		return StepResult{}, err
	}
	if r.guest.Root != r.root {
		// The archive's map is not the one that the guest got.
		r.root = r.guest.Root
		if _, err := r.p.putBootstrap(r.boot, r.minted, r.job.VMID, r.root); err != nil {
			return StepResult{}, err
		}
	}
	return StepResult{Detail: strings.TrimSuffix(r.guest.Net.MAC+", "+how, ", ")}, nil
}

func cancelOn(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

func (r *run) needsAttach() bool {
	return !r.isUpdate || !r.isOther && !r.p.isAttached(r.guest) || r.isRemoved && r.guest.State == driver.Running
}

func (r *run) attach(ctx context.Context) (StepResult, error) {
	vmid := r.job.VMID
	if r.isUpdate && r.p.isAttached(r.guest) { // the directory was removed: the guest still has that one
		if err := r.p.options.Hypervisor.Detach(ctx, vmid, configmount.Target); err != nil {
			return StepResult{}, fault.WrapHint(fault.Invalid, fmt.Errorf("its mount was removed and made again, and it has the old one: %w", err),
				"shut the guest down, then run the same command again")
		}
	}
	if err := r.p.options.Hypervisor.Attach(ctx, vmid, r.p.mount(vmid)); err != nil {
		return StepResult{}, err
	}
	if r.isUpdate {
		r.outcome = Updated
		return StepResult{}, nil
	}
	image, _ := goldenid.Of(r.job.Spec.Archive) // it was just restored; without it the guest's age is not known
	return StepResult{}, r.p.options.Store.Update(ctx, vmid, func(g *guests.Record) error {
		g.Provisioned = &guests.Provisioned{ID: r.journal.ID, Golden: r.job.Spec.Archive, Template: r.journal.Template, At: r.p.options.Now().UTC().Truncate(time.Second)}
		if image != (goldenid.ID{}) {
			g.Provisioned.Image = &image
		}
		return nil
	})
}

func (r *run) needsStart() bool {
	return !r.isUpdate || r.job.Start && r.guest.State != driver.Running
}

func (r *run) start(ctx context.Context) (StepResult, error) {
	if !r.job.Start {
		return StepResult{Word: "skipped"}, nil
	}
	if r.isUpdate && !r.isPut {
		_, tok, err := r.p.inMount(r.job.VMID)
		if err == nil {
			err = r.await(ctx, tok)
		}
		if err != nil {
			return StepResult{}, err
		}
	}
	err := r.p.options.Hypervisor.Start(ctx, r.job.VMID)
	if errors.Is(err, driver.ErrRunning) {
		return StepResult{Word: "unchanged"}, nil
	}
	if r.isUpdate {
		r.outcome = Started
	}
	return StepResult{}, err
}
