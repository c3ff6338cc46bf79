package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-golden/internal/driver"
)

// fakeTemplate is what a [FakeHypervisor] knows of a template beside its guest.
type fakeTemplate struct{ isFinished bool }

// SetCloning sets the storages whose guests can be linked clones; there are none
// at first. "" is the storage of guests that name none.
func (f *FakeHypervisor) SetCloning(storages ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cloning = storages
}

// ClonesOf returns the linked clones of a template.
func (f *FakeHypervisor) ClonesOf(template int) []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clonesOf(template)
}

func (f *FakeHypervisor) clonesOf(template int) (list []int) {
	for _, vmid := range slices.Sorted(maps.Keys(f.clones)) {
		if f.clones[vmid] == template && f.guests[vmid] != nil {
			list = append(list, vmid)
		}
	}
	return list
}

// ArchivePath implements [driver.Cloner].
func (f *FakeHypervisor) ArchivePath(ctx context.Context, archive string) (string, error) {
	return archive, context.Cause(ctx)
}

// CanClone implements [driver.Cloner].
func (f *FakeHypervisor) CanClone(ctx context.Context, s driver.Spec) (err error) {
	err = f.begin(ctx, "CanClone", 0)
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.canClone(s)
}

func (f *FakeHypervisor) canClone(s driver.Spec) error {
	if !slices.Contains(f.cloning, s.Storage) {
		return driver.Faultf(driver.ErrNoClone, "name another storage", "storage %s (fake) cannot make linked clones", s.Storage)
	}
	return nil
}

// Templates implements [driver.Cloner].
func (f *FakeHypervisor) Templates(ctx context.Context) (list []driver.Template, err error) {
	err = f.begin(ctx, "Templates", 0)
	defer f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, vmid := range slices.Sorted(maps.Keys(f.templates)) {
		if g := f.guests[vmid]; g != nil {
			list = append(list, driver.Template{
				VMID: vmid, Description: g.Description, Storage: f.storages[vmid], IsFinished: f.templates[vmid].isFinished, UsedBy: f.clonesOf(vmid),
			})
		}
	}
	return list, nil
}

// marked returns the whole guest that has the description; f is locked.
func (f *FakeHypervisor) marked(vmid int, description string) (*driver.Guest, error) {
	g, err := f.whole(vmid)
	switch {
	case err != nil:
		return nil, err
	case description == "" || g.Description != description:
		return nil, driver.Faultf(driver.ErrExists, "", "it has another description")
	}
	return g, nil
}

// FinishTemplate implements [driver.Cloner]. A process that is killed in it leaves a
// template without protection.
func (f *FakeHypervisor) FinishTemplate(ctx context.Context, vmid int, description string) (err error) {
	err = f.begin(ctx, "FinishTemplate", vmid)
	defer f.end("FinishTemplate", vmid, &err)
	if err != nil {
		return err
	}
	g, err := f.marked(vmid, description)
	switch {
	case err != nil:
		return err
	case g.State == driver.Running:
		return driver.ErrRunning
	}
	f.templates[vmid] = &fakeTemplate{isFinished: f.kill["FinishTemplate"] == nil}
	return nil
}

// RemoveTemplate implements [driver.Cloner].
func (f *FakeHypervisor) RemoveTemplate(ctx context.Context, vmid int, description, _ string) (err error) {
	err = f.begin(ctx, "RemoveTemplate", vmid)
	defer f.end("RemoveTemplate", vmid, &err)
	if err != nil {
		return err
	}
	if g := f.guests[vmid]; g != nil && !g.Partial {
		if _, err := f.marked(vmid, description); err != nil {
			return err
		}
	}
	if used := f.clonesOf(vmid); len(used) > 0 {
		return driver.Faultf(driver.ErrInUse, "remove those guests first", "the guests %v are linked clones of it", used)
	}
	if t := f.templates[vmid]; f.kill["RemoveTemplate"] != nil && t != nil {
		t.isFinished = false // only its protection has ended
		return nil
	}
	delete(f.guests, vmid)
	delete(f.templates, vmid)
	return nil
}

// Clone implements [driver.Cloner]. A process that is killed in it leaves a partial
// guest, one that is killed in "settings" a whole one without its settings.
func (f *FakeHypervisor) Clone(ctx context.Context, t driver.Template, vmid int, s driver.Spec, p driver.Progress) (err error) {
	err = f.begin(ctx, "Clone", vmid)
	method := "Clone"
	if f.kill["settings"] != nil {
		method = "settings"
	}
	defer func() { f.end(method, vmid, &err) }()
	switch {
	case err != nil:
		return err
	case f.guests[vmid] != nil:
		return driver.ErrExists
	case s.Description == "":
		return driver.ErrRefused
	}
	g, err := f.plan(vmid, s)
	if err == nil {
		err = f.canClone(s)
	}
	if err != nil {
		return err
	}
	of, err := f.marked(t.VMID, t.Description)
	if err != nil || f.templates[of.VMID] == nil || !f.templates[of.VMID].isFinished || f.storages[of.VMID] != s.Storage {
		return errors.Join(err, fmt.Errorf("template %d: %w", t.VMID, driver.ErrNoClone))
	}
	const total = 1 << 20
	for done := range int64(2) {
		if p != nil {
			p(done*total, total)
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	switch {
	case f.kill["Clone"] != nil:
		g = &driver.Guest{VMID: vmid, State: driver.Stopped, Partial: true, Lock: "create", Description: s.Description}
	case method == "settings":
		g = &driver.Guest{VMID: vmid, State: driver.Stopped, Hostname: of.Hostname, Description: s.Description, Root: g.Root, Net: g.Net}
	}
	f.guests[vmid], f.clones[vmid], f.storages[vmid] = g, t.VMID, s.Storage
	return nil
}

// DiscardClone implements [driver.Cloner].
func (f *FakeHypervisor) DiscardClone(ctx context.Context, vmid int, description, _ string) (err error) {
	err = f.begin(ctx, "DiscardClone", vmid)
	defer f.end("DiscardClone", vmid, &err)
	if err != nil {
		return err
	}
	g := f.guests[vmid]
	switch {
	case g == nil:
		return nil
	case g.Description != "" && g.Description != description, description == "":
		return driver.ErrExists
	}
	delete(f.guests, vmid)
	return nil
}
