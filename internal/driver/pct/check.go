package pct

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Check implements [driver.Hypervisor]: the node, its packages, the archive,
// the settings, the storage and the bridge.
func (d *Driver) Check(ctx context.Context, vmid int, s driver.Spec) error {
	if err := context.Cause(ctx); err != nil {
		return wrap(vmid, "check", err)
	}
	errs := []error{d.checkNode(), d.checkPackages(ctx), d.checkElsewhere(ctx, vmid)}
	bridge, storage, need, size := s.Net.Bridge, s.Storage, int64(s.RootfsGiB)<<30, int64(0)
	if s.Archive != "" {
		conf, archived, err := d.archive(ctx, s.Archive)
		errs, size = append(errs, err), archived
		if err == nil {
			plan, err := newPlan(vmid, s, conf)
			errs = append(errs, err)
			bridge, storage, need = plan.bridge, plan.storage, plan.bytes
		}
	}
	errs = append(errs, d.checkBridge(bridge), d.checkStorage(ctx, storage, need, size))
	found := fault.Each(errors.Join(errs...))
	if cause := context.Cause(ctx); cause != nil && len(found) > 0 {
		return wrap(vmid, "check", cause)
	}
	for i := range found { // each keeps its own hint
		found[i] = wrap(vmid, "check", found[i])
	}
	return errors.Join(found...)
}

// CheckNode finds what keeps this node from running any guest with Docker: the
// node's state, and the versions of its packages.
func (d *Driver) CheckNode(ctx context.Context) error {
	return errors.Join(d.checkNode(), d.checkPackages(ctx))
}

// checkNode looks whether this is a PVE node that can change anything: without
// quorum the cluster file system loses its write bits.
func (d *Driver) checkNode() error {
	info, err := os.Stat(filepath.Join(d.o.PVEDir, "local"))
	switch {
	case err != nil:
		return driver.Faultf(driver.ErrNotReady, "is this a Proxmox VE node, and pve-cluster running?", "%s", err)
	case info.Mode().Perm()&0o200 == 0:
		return driver.Faultf(driver.ErrNotReady, "bring the cluster's nodes back, see pvecm status", "%s/local is read-only: no quorum", d.o.PVEDir)
	}
	return nil
}

// checkPackages refuses a node on which a Debian 13 guest with Docker would
// not start, or start and run no container.
func (d *Driver) checkPackages(ctx context.Context) error {
	container, err := d.version(ctx, "pve-container")
	if err != nil {
		return err
	}
	old := func(name, got, want, why string) error {
		return driver.Faultf(driver.ErrWrongHost, "apt update && apt full-upgrade", "%s %s, want %s or later: %s", name, got, want, why)
	}
	const debian = "older ones refuse Debian 13.1 and later at restore and at every start"
	if !atLeast(container, "6") {
		if !atLeast(container, "5.3.1") {
			return old("pve-container", container, "5.3.1", debian)
		}
		// On PVE 8 there is no lxc-pve with the fix below; whether the archive's
		// runc needs it cannot be told from here. docs/operations.md says it.
		return nil
	}
	lxc, err := d.version(ctx, "lxc-pve")
	if err != nil {
		return err
	}
	if !atLeast(container, "6.0.10") {
		err = old("pve-container", container, "6.0.10", debian)
	}
	if !atLeast(lxc, "6.0.5-2") {
		err = errors.Join(err, old("lxc-pve", lxc, "6.0.5-2", "under older ones runc 1.3.3 and later starts no container in a guest (CVE-2025-52881)"))
	}
	return err
}

func (d *Driver) version(ctx context.Context, pkg string) (string, error) {
	out, err := d.call(ctx, readTimeout, d.o.DpkgQuery, "-W", "-f=${Version}", pkg)
	version := strings.TrimSpace(string(out))
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return "", err
	case err != nil || version == "":
		return "", driver.Faultf(driver.ErrWrongHost, "this is for a Proxmox VE node; on another host choose the lxc hypervisor", "the package %s is not installed", pkg)
	}
	return version, nil
}

// atLeast compares the numbers in two versions of a package. That is less than
// dpkg does, but enough for PVE's own versions.
func atLeast(got, want string) bool {
	_, got, _ = strings.Cut(":"+got, ":")
	numbers := func(v string) (list []int) {
		for part := range strings.FieldsFuncSeq(v, func(r rune) bool { return r < '0' || r > '9' }) {
			n, err := strconv.Atoi(part)
			if err != nil {
				return list // greater than the number of any version
			}
			list = append(list, n)
		}
		return list
	}
	return slices.Compare(numbers(got), numbers(want)) >= 0
}

func (d *Driver) checkBridge(name string) error {
	if name == "" {
		return nil
	}
	if err := driver.FindBridge(d.o.NetDir, name); err != nil {
		return driver.Fault(driver.ErrNoBridge, "name a bridge of this node; ip link show type bridge lists those of Linux", err)
	}
	return nil
}

// checkTaken refuses a VMID that a VM has, or a guest of another node: to pct
// on this node there is no such guest, and its disks look like leftovers.
func (d *Driver) checkTaken(ctx context.Context, vmid int) error {
	list, err := d.vmlist(ctx)
	if err != nil {
		return err
	}
	guest, taken := list.IDs[strconv.Itoa(vmid)]
	if !taken {
		return nil
	}
	kind := map[string]string{"lxc": "a container", "qemu": "a VM"}[guest.Type]
	return driver.Faultf(driver.ErrExists, otherVMID, "it is %s (%s) of node %s", cmp.Or(kind, "a guest"), guest.Type, guest.Node)
}

// checkElsewhere is checkTaken without the guests of this node: a job for a
// guest that exists here may only want to finish it.
func (d *Driver) checkElsewhere(ctx context.Context, vmid int) error {
	list, err := d.vmlist(ctx)
	if err != nil {
		return err
	}
	if g := list.IDs[strconv.Itoa(vmid)]; g.Type == "lxc" && g.Node == d.o.Node {
		return nil
	}
	return d.checkTaken(ctx, vmid)
}

const otherVMID = "take another VMID; pvesh get /cluster/nextid knows a free one"
