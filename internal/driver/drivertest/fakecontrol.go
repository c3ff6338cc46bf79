package drivertest

import (
	"slices"

	"github.com/felhom/felhom-golden/internal/driver"
)

// AddArchive makes path an archive.
func (f *FakeHypervisor) AddArchive(path string, a FakeArchive) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.archives[path] = a
}

// Fail makes every later call of a method ("Restore") return err before it
// changes anything; nil heals.
func (f *FakeHypervisor) Fail(method string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[method] = err
}

// Kill makes the next call of a method leave what a process leaves that is
// killed in the middle of it, and then call at, which need not return: it may
// block for ever, so that no deferred function of the caller runs either.
// A Restore leaves a partial guest, a Destroy too; the others have done their work.
func (f *FakeHypervisor) Kill(method string, at func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kill[method] = at
}

// MakePartial leaves what an interrupted Restore leaves.
func (f *FakeHypervisor) MakePartial(vmid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guests[vmid] = &driver.Guest{VMID: vmid, State: driver.Stopped, Partial: true, Lock: "create"}
}

// Put makes a guest as it is given, in place of an older one.
func (f *FakeHypervisor) Put(g driver.Guest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guests[g.VMID] = &g
}

// Calls returns the calls so far, each as "Method VMID"; Guest, Status, Storage
// and ArchiveConfig, which only look, are not among them.
func (f *FakeHypervisor) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// SetWarnings sets what Warnings returns.
func (f *FakeHypervisor) SetWarnings(warnings ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.warnings = warnings
}

// VMIDs returns the guests that there are, partial ones too, sorted.
func (f *FakeHypervisor) VMIDs() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []int
	for vmid := range f.guests {
		list = append(list, vmid)
	}
	slices.Sort(list)
	return list
}

// Die makes running guest vmid stop by itself, with this as what it wrote to
// its console.
func (f *FakeHypervisor) Die(vmid int, console string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.guests[vmid]; g != nil {
		g.State = driver.Stopped
	}
	f.consoles[vmid] = console
}
