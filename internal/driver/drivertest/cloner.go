package drivertest

import (
	"context"
	"slices"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// ClonerBed is one implementation of [driver.Cloner] under test.
type ClonerBed struct {
	HypervisorBed               // Storage can make linked clones
	Cloner        driver.Cloner // the same driver
	NoCloning     string        // a storage that takes guests and cannot; "": the suite reports that it did not look at one
}

// RunCloner runs the suite of [driver.Cloner]; bed is called for each test.
func RunCloner(t *testing.T, bed func(t *testing.T) ClonerBed) {
	for _, test := range []struct {
		name string
		run  func(*cloners, *testing.T)
	}{
		{"which storage", (*cloners).storages},
		{"a template and its clones", (*cloners).lifecycle},
		{"foreign guests", (*cloners).foreign},
		{"refused", (*cloners).refused},
		{"interrupted", (*cloners).interruptedClone},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := bed(t)
			c := &cloners{suite: newSuite(b.HypervisorBed), Cloner: b.Cloner, noCloning: b.NoCloning}
			test.run(c, t)
		})
	}
}

type cloners struct {
	*suite
	driver.Cloner
	noCloning string
}

const mark = "felhom-agentd: template of a test"

// template makes one, and removes it when the test is over.
func (c *cloners) template(t *testing.T) driver.Template {
	t.Helper()
	vmid, s, off := c.VMID(), c.spec(), false
	s.Description, s.Hostname, s.OnBoot = mark, "conform-template", &off
	no(t, "restore", c.Hypervisor.Restore(t.Context(), vmid, s, nil))
	t.Cleanup(func() { no(t, "remove the template", c.RemoveTemplate(context.Background(), vmid, mark, c.Storage)) })
	for range 2 { // it is safe to repeat
		no(t, "finish", c.FinishTemplate(t.Context(), vmid, mark))
	}
	return c.find(t, vmid)
}

func (c *cloners) find(t *testing.T, vmid int) driver.Template {
	t.Helper()
	all, err := c.Templates(t.Context())
	no(t, "templates", err)
	at := slices.IndexFunc(all, func(t driver.Template) bool { return t.VMID == vmid })
	if at < 0 {
		t.Fatalf("template %d is not among %+v", vmid, all)
	}
	if got := all[at]; !got.IsFinished || got.Description != mark || got.Storage != c.Storage {
		t.Errorf("template is %+v, want a finished one on %q", got, c.Storage)
	}
	return all[at]
}

func (c *cloners) storages(t *testing.T) {
	no(t, "storage of the bed", c.CanClone(t.Context(), c.spec()))
	if c.noCloning != "" {
		s := c.spec()
		s.Storage = c.noCloning
		want(t, "another storage", c.CanClone(t.Context(), s), driver.ErrNoClone)
	} else {
		t.Log("no NoCloning: a storage that cannot was not looked at")
	}
	path, err := c.ArchivePath(t.Context(), c.Archive)
	if err != nil || path == "" || path[0] != '/' {
		t.Errorf("path of the archive: %q, %v", path, err)
	}
	_, err = c.Templates(t.Context())
	no(t, "templates", err)
}

// lifecycle wants clones that are as restored guests are.
func (c *cloners) lifecycle(t *testing.T) {
	h, ctx, of := c.Hypervisor, t.Context(), c.template(t)
	want(t, "start a template", h.Start(ctx, of.VMID), driver.ErrProtected)
	want(t, "destroy a template", h.Destroy(ctx, of.VMID), driver.ErrProtected)
	full, plain, restored := c.take(t), c.take(t), c.take(t)
	onBoot, swap := false, 64
	s := c.spec()
	s.Hostname, s.Description = "conform-a", description
	s.Cores, s.MemoryMiB, s.SwapMiB, s.OnBoot = 1, 512, &swap, &onBoot
	s.Net = dualStack(c.Bridge)
	seen := &watch{}
	no(t, "clone", c.Clone(ctx, of, full, s, seen.progress))
	seen.check(t)
	s = c.spec()
	s.Description = "plain"
	no(t, "clone", c.Clone(ctx, of, plain, s, nil))
	no(t, "restore", h.Restore(ctx, restored, s, nil))
	c.restored(t, full, plain)
	if nets, err := h.Networks(ctx); err != nil || nets[of.VMID] != (driver.Net{}) {
		t.Errorf("the template's interface is %+v, %v, want none: it never runs", nets[of.VMID], err)
	}

	like, as := c.guest(t, plain), c.guest(t, restored)
	as.VMID, as.Net.MAC, like.Net.MAC = like.VMID, "", ""
	if !equalGuests(like, as) {
		t.Errorf("a clone is %+v, a restored guest %+v", like, as)
	}
	want(t, "clone again", c.Clone(ctx, of, full, s, nil), driver.ErrExists)
	want(t, "discard a whole clone", h.Discard(ctx, full, c.Storage), driver.ErrExists)
	want(t, "discard another's clone", c.DiscardClone(ctx, full, "plain", c.Storage), driver.ErrExists)

	source := c.directory(t, "before-start")
	no(t, "attach", h.Attach(ctx, full, driver.Mount{Source: source, Target: "/etc/felhom-bootstrap", ReadOnly: true}))
	no(t, "start", h.Start(ctx, full))
	c.state(t, full, driver.Running)
	no(t, "shutdown", h.Shutdown(ctx, full, grace))
	for _, vmid := range []int{full, plain} {
		no(t, "destroy", h.Destroy(ctx, vmid))
	}
	c.find(t, of.VMID) // it stays, protected
}

func equalGuests(a, b driver.Guest) bool {
	if len(a.Mounts) != len(b.Mounts) {
		return false
	}
	a.Mounts, b.Mounts = nil, nil
	return a.State == b.State && a.Partial == b.Partial && a.Lock == b.Lock && a.Hostname == b.Hostname && a.Description == b.Description &&
		a.Net == b.Net && a.Root == b.Root && a.OnBoot == b.OnBoot
}

// foreign holds what felhom-agentd did not make against everything that changes templates.
func (c *cloners) foreign(t *testing.T) {
	h, ctx, vmid := c.Hypervisor, t.Context(), c.take(t)
	s := c.spec()
	s.Description = "another guest"
	no(t, "restore", h.Restore(ctx, vmid, s, nil))
	before := c.guest(t, vmid)
	other := driver.Template{VMID: vmid, Description: mark, Storage: c.Storage, IsFinished: true}
	for _, description := range []string{mark, "", s.Description + "\n"} {
		want(t, "finish", c.FinishTemplate(ctx, vmid, description), driver.ErrExists)
		want(t, "remove", c.RemoveTemplate(ctx, vmid, description, c.Storage), driver.ErrExists)
		want(t, "discard", c.DiscardClone(ctx, vmid, description, c.Storage), driver.ErrExists)
	}
	free := c.take(t)
	s.Description = "x"
	want(t, "clone", c.Clone(ctx, other, free, s, nil), driver.ErrNoClone)
	c.absent(t, free)
	if after := c.guest(t, vmid); !equalGuests(before, after) {
		t.Errorf("the guest changed from %+v to %+v", before, after)
	}
	missing := c.VMID()
	want(t, "finish what does not exist", c.FinishTemplate(ctx, missing, mark), driver.ErrNotFound)
	no(t, "remove what does not exist", c.RemoveTemplate(ctx, missing, mark, c.Storage))
	no(t, "discard what does not exist", c.DiscardClone(ctx, missing, mark, c.Storage))
}

func (c *cloners) refused(t *testing.T) {
	ctx, of, vmid := t.Context(), c.template(t), c.take(t)
	s := c.spec()
	want(t, "without a description", c.Clone(ctx, of, vmid, s, nil), driver.ErrRefused)
	s.Description, s.Net.Bridge = "x", noBridge
	want(t, "without a bridge", c.Clone(ctx, of, vmid, s, nil), driver.ErrNoBridge)
	s = c.spec()
	if s.Description = "x"; c.noCloning != "" {
		s.Storage = c.noCloning
		want(t, "on another storage", c.Clone(ctx, of, vmid, s, nil), driver.ErrNoClone)
		s.Storage = c.Storage
	}
	changed := of
	changed.Description += "x"
	want(t, "of a template with another mark", c.Clone(ctx, changed, vmid, s, nil), driver.ErrNoClone)
	c.absent(t, vmid)
}

func (c *cloners) interruptedClone(t *testing.T) {
	of, vmid := c.template(t), c.take(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := c.spec()
	s.Description = "x"
	want(t, "clone", c.Clone(ctx, of, vmid, s, func(int64, int64) { cancel() }), context.Canceled)
	c.absent(t, vmid)
	if c.MakePartial != nil {
		c.MakePartial(t, vmid)
		no(t, "discard", c.DiscardClone(t.Context(), vmid, "x", c.Storage))
		c.absent(t, vmid)
	}
	no(t, "clone after it", c.Clone(t.Context(), of, vmid, s, nil))
}
