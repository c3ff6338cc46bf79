package provision

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
)

// CloneMode is what decides whether new guests are linked clones of a template.
type CloneMode string

// The modes.
const (
	CloneNever  CloneMode = "never"  // restore each guest
	CloneAuto   CloneMode = "auto"   // clone, or restore if a clone is not possible
	CloneAlways CloneMode = "always" // clone, or fail
)

// Range is a range of VMIDs, both ends included.
type Range struct{ First, Last int }

// templateMarker starts the line of the description of each template that
// felhom-agentd made.
const templateMarker = "felhom-agentd: template "

// phase is what a run was doing with a template when it was written.
type phase string

const (
	phaseMaking   phase = "making"
	phaseReady    phase = "ready"
	phaseRemoving phase = "removing"
)

// template is a template that this host made. What a guest's description says does
// not prove that; others may write it.
type template struct {
	VMID    int         `json:"vmid"`
	ID      string      `json:"id"`
	Phase   phase       `json:"phase"`
	Golden  string      `json:"golden"` // archive or volume
	Image   goldenid.ID `json:"image"`
	Storage string      `json:"storage"`
	HasDisk bool        `json:"has_disk,omitempty"` // the storage had no disk of that VMID when its restore began
	Made    time.Time   `json:"made"`
}

// description returns the whole description of the template, by which it is
// recognised.
func (t template) description() string {
	image := t.Image.Print
	if image == "" {
		image = filepath.Base(t.Golden)
	}
	return "Guests are linked clones of this template. Do not start or change it; felhom-agentd template prune removes it.\n" +
		templateMarker + strings.Join([]string{t.ID, "image", image, "storage", t.Storage}, " ")
}

// disks returns the storage for a Discard of the template.
func (t template) disks() string {
	if !t.HasDisk {
		return ""
	}
	return t.Storage
}

// isTaken reports whether g, which has the VMID of t, was made by another program.
func (t template) isTaken(g driver.Guest) bool {
	if g.Partial {
		return !t.HasDisk // the restore of t did not begin
	}
	return g.Lock != lockCreate && g.Description != t.description()
}

// isOf reports whether guests of the image on the storage can be clones of t.
func (t template) isOf(image goldenid.ID, storage string) bool {
	return t.Storage == storage && image.Print != "" && t.Image.Print == image.Print
}

// templates returns the lock of the templates, and those of this host. It waits
// for another run that works on them.
func (p *Provisioner) templates(ctx context.Context) (list []template, unlock func() error, err error) {
	if err := atomicfile.MakeDirectory(p.journals.dir, 0o700); err != nil {
		return nil, nil, err
	}
	unlock, err = filelock.Wait(ctx, filepath.Join(p.journals.dir, "templates.lock"))
	if err != nil {
		return nil, nil, err
	}
	// A killed write left its temporary file; the lock excludes other writers.
	err = p.journals.with(func(root *os.Root) error { return atomicfile.Sweep(root, templatesFile) })
	if err == nil {
		list, err = p.journals.readTemplates()
	}
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return list, unlock, nil
}

// put writes t in place of the template with its ID.
func (p *Provisioner) put(list []template, t template) ([]template, error) {
	list = append(slices.DeleteFunc(slices.Clone(list), func(o template) bool { return o.ID == t.ID }), t)
	return list, p.journals.writeTemplates(list)
}

func (p *Provisioner) drop(list []template, id string) ([]template, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(o template) bool { return o.ID == id })
	return list, p.journals.writeTemplates(list)
}

// cloner returns the driver that clones; the error says why there is none.
func (p *Provisioner) cloner() (driver.Cloner, error) {
	c, ok := p.options.Hypervisor.(driver.Cloner)
	if !ok {
		return nil, driver.Faultf(driver.ErrNoClone, "set provision.clone: auto or never", "this hypervisor makes no linked clones")
	}
	return c, nil
}

// canClone returns the driver that clones if it can make the guest of the spec; the
// error says why it cannot.
func (p *Provisioner) canClone(ctx context.Context, spec driver.Spec) (driver.Cloner, error) {
	c, err := p.cloner()
	if err != nil {
		return nil, err
	}
	return c, c.CanClone(ctx, spec)
}

// make makes the guest of the run: as a clone where it is asked for and possible,
// or by a restore. how says which, if there was a choice.
func (r *run) make(ctx context.Context, spec driver.Spec, progress driver.Progress) (how string, err error) {
	mode := r.p.options.Clone
	if mode == CloneAuto || mode == CloneAlways {
		how, err = r.clone(ctx, r.cloneSpec(spec), progress)
		switch {
		case err == nil || ctx.Err() != nil || errors.Is(err, driver.ErrExists):
			return how, err
		case mode == CloneAlways:
			return "", hinted(err, cloneHint)
		}
		if _, left := r.p.options.Hypervisor.Guest(ctx, r.job.VMID); !errors.Is(left, driver.ErrNotFound) {
			return "", err // the undo removes what the clone has left
		}
		how = "restore: " + reason(err)
		r.journal.Cloning = false
		if err := r.p.journals.write(r.journal); err != nil {
			return "", err
		}
	}
	return how, r.p.options.Hypervisor.Restore(ctx, r.job.VMID, spec, progress)
}

const cloneHint = "set provision.clone: auto, which restores the guest where it cannot be a clone"

// cloneSpec returns spec with the storage that it has by its archive.
func (r *run) cloneSpec(spec driver.Spec) driver.Spec {
	spec.Storage = r.storage
	return spec
}

// hinted gives err a hint if it has none.
func hinted(err error, hint string) error {
	if fault.HintOf(err) != "" {
		return err
	}
	return fault.WrapHint(fault.Of(err), err, hint)
}

// reason is the text of an error in one line of a step, without the class that
// the line itself says.
func reason(err error) string {
	text := strings.TrimPrefix(err.Error(), driver.ErrNoClone.Error()+": ")
	return strings.Join(strings.Fields(text), " ")
}

// clone makes the guest as a linked clone. On any error but a killed process
// nothing of the guest is left. The lock is held meanwhile: PVE locks a
// template while it is cloned.
func (r *run) clone(ctx context.Context, spec driver.Spec, progress driver.Progress) (how string, err error) {
	p := r.p
	c, err := p.canClone(ctx, spec)
	if err != nil {
		return "", err
	}
	list, unlock, err := p.templates(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	image, err := p.image(ctx, c, spec.Archive)
	if err != nil {
		return "", err
	}
	// Only the template of this image that is not finished is needed: without it there
	// would be two. Of the others Templates shows what they are, and prune why.
	list, _, err = p.settleTemplates(ctx, c, list)
	isNeeded := func(t template) bool { return t.Phase == phaseMaking && t.isOf(image, spec.Storage) }
	if err != nil && (ctx.Err() != nil || slices.ContainsFunc(list, isNeeded)) {
		return "", err
	}
	t, err := p.templateFor(ctx, c, list, image, spec)
	if err != nil {
		return "", err
	}
	r.journal.Cloning = true
	if err := p.journals.write(r.journal); err != nil {
		return "", err
	}
	of := driver.Template{VMID: t.VMID, Description: t.description(), Storage: t.Storage}
	if err := c.Clone(ctx, of, r.job.VMID, spec, progress); err != nil {
		return "", err
	}
	r.journal.Cloning, r.journal.Template = false, t.VMID
	return fmt.Sprintf("linked clone of template %d", t.VMID), p.journals.write(r.journal)
}

// templateFor returns a finished template for the guest, and makes it if there is none.
func (p *Provisioner) templateFor(ctx context.Context, c driver.Cloner, list []template, image goldenid.ID, spec driver.Spec) (template, error) {
	for _, t := range list {
		if t.Phase != phaseReady || !t.isOf(image, spec.Storage) {
			continue
		}
		err := c.FinishTemplate(ctx, t.VMID, t.description()) // it may have lost its protection
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, driver.ErrNotFound) && !errors.Is(err, driver.ErrExists) {
			return template{}, err
		}
		// An operator has removed it, or it is not the one that was made.
		if list, err = p.drop(list, t.ID); err != nil {
			return template{}, err
		}
	}
	t, err := p.makeTemplate(ctx, c, list, image, spec)
	if err != nil {
		return template{}, err
	}
	if err := p.removeOlder(ctx, c, t); ctx.Err() != nil {
		return template{}, err
	} // else Templates names those that are left
	return t, nil
}

// image identifies the golden image by its bytes: a name may get another archive.
func (p *Provisioner) image(ctx context.Context, c driver.Cloner, archive string) (goldenid.ID, error) {
	path, err := c.ArchivePath(ctx, archive)
	if err != nil {
		return goldenid.ID{}, err
	}
	return goldenid.Of(path)
}

// makeTemplate restores the golden image into a guest with a free VMID and makes it a
// template.
func (p *Provisioner) makeTemplate(ctx context.Context, c driver.Cloner, list []template, image goldenid.ID, spec driver.Spec) (template, error) {
	stopped := false
	t := template{ID: rand.Text()[:16], Phase: phaseMaking, Golden: spec.Archive, Image: image, Storage: spec.Storage, Made: p.options.Now().UTC().Truncate(time.Second)}
	for t.VMID = p.options.TemplateVMIDs.First; t.VMID <= p.options.TemplateVMIDs.Last; t.VMID++ {
		isFree, err := p.isFree(ctx, list, t.VMID)
		if err != nil {
			return template{}, err
		}
		if !isFree {
			continue
		}
		if list, err = p.put(list, t); err != nil {
			return template{}, err
		}
		restoring, cancel := context.WithCancelCause(ctx)
		err = p.options.Hypervisor.Restore(restoring, t.VMID, driver.Spec{
			Archive: spec.Archive, Storage: spec.Storage, Hostname: "felhom-template", Description: t.description(), OnBoot: &stopped,
			Net: driver.Net{Bridge: spec.Net.Bridge},
		}, func(int64, int64) {
			if !t.HasDisk {
				t.HasDisk = true
				_, err := p.put(list, t)
				cancelOn(cancel, err)
			}
		})
		cancel(nil)
		if err == nil {
			return p.finish(ctx, c, list, t)
		}
		if _, left := p.options.Hypervisor.Guest(context.WithoutCancel(ctx), t.VMID); !errors.Is(err, driver.ErrExists) && !errors.Is(left, driver.ErrNotFound) {
			return template{}, fmt.Errorf("make template %d: %w", t.VMID, err) // the next run removes what is left
		}
		var dropErr error
		if list, dropErr = p.drop(list, t.ID); dropErr != nil || !errors.Is(err, driver.ErrExists) {
			return template{}, fmt.Errorf("make template %d: %w", t.VMID, errors.Join(err, dropErr))
		}
		t.HasDisk = false // another program was faster: the next VMID
	}
	r := p.options.TemplateVMIDs
	return template{}, fault.WrapHint(fault.Failed, fmt.Errorf("no VMID from %d to %d is free for a template", r.First, r.Last),
		"set provision.template_vmids to a range with free VMIDs, or felhom-agentd template prune")
}

// isFree reports whether nothing that this host knows has the VMID.
func (p *Provisioner) isFree(ctx context.Context, list []template, vmid int) (bool, error) {
	if slices.ContainsFunc(list, func(t template) bool { return t.VMID == vmid }) || p.options.Mounts.Exists(vmid) {
		return false, nil
	}
	if _, err := p.options.Store.Get(vmid); !errors.Is(err, guests.ErrNotFound) {
		return false, err
	}
	_, err := p.options.Hypervisor.Guest(ctx, vmid)
	if errors.Is(err, driver.ErrNotFound) {
		return true, nil
	}
	return false, ctx.Err()
}

// finish makes a restored guest the template t; if that is not possible, it is
// removed.
func (p *Provisioner) finish(ctx context.Context, c driver.Cloner, list []template, t template) (template, error) {
	err := c.FinishTemplate(ctx, t.VMID, t.description())
	if err == nil {
		t.Phase = phaseReady
		_, err = p.put(list, t)
		return t, err
	}
	err = fmt.Errorf("make template %d: %w", t.VMID, err)
	if ctx.Err() != nil || errors.Is(err, driver.ErrBusy) {
		return template{}, err // the next run continues
	}
	_, _, removeErr := p.remove(ctx, c, list, t)
	return template{}, errors.Join(err, removeErr)
}

// remove removes t for good, and reports whether it destroyed a guest. If t is in use, it
// stays as it was, and the error is a [driver.ErrInUse].
func (p *Provisioner) remove(ctx context.Context, c driver.Cloner, all []template, t template) (list []template, isRemoved bool, err error) {
	before := t
	t.Phase = phaseRemoving
	if list, err = p.put(all, t); err != nil {
		return list, false, err
	}
	_, lookErr := p.options.Hypervisor.Guest(ctx, t.VMID)
	err = c.RemoveTemplate(ctx, t.VMID, t.description(), t.disks())
	switch {
	case err == nil, errors.Is(err, driver.ErrExists): // it is another guest now, which stays
		isRemoved = err == nil && !errors.Is(lookErr, driver.ErrNotFound)
		list, err = p.drop(list, t.ID)
	case errors.Is(err, driver.ErrInUse):
		var putErr error
		list, putErr = p.put(list, before)
		err = cmp.Or(putErr, err)
	}
	return list, isRemoved, err
}
