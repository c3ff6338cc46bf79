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
)

// Check implements [driver.Hypervisor]: the node, its packages, the archive,
// the settings, the storage and the bridge.
func (d *Driver) Check(ctx context.Context, vmid int, s driver.Spec) error {
	if err := context.Cause(ctx); err != nil {
		return wrap(vmid, "check", err)
	}
	errs := []error{d.checkNode(), d.checkPackages(ctx), d.checkElsewhere(vmid)}
	conf, size, err := d.archive(ctx, s.Archive)
	errs = append(errs, err)
	bridge, storage, need := s.Net.Bridge, s.Storage, int64(s.RootfsGiB)<<30
	if err == nil {
		plan, err := newPlan(vmid, s, conf)
		errs = append(errs, err)
		bridge, storage, need = plan.bridge, plan.storage, plan.bytes
	}
	errs = append(errs, d.checkBridge(bridge), d.checkStorage(ctx, storage, need, size))
	if err := errors.Join(errs...); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return wrap(vmid, "check", err)
	}
	return nil
}

// checkNode looks whether this is a PVE node that can change anything: without
// quorum the cluster file system loses its write bits.
func (d *Driver) checkNode() error {
	info, err := os.Stat(filepath.Join(d.o.PVEDir, "local"))
	switch {
	case err != nil:
		return refuse(driver.ErrNotReady, "is this a Proxmox VE node, and pve-cluster running?", "%s", err)
	case info.Mode().Perm()&0o200 == 0:
		return refuse(driver.ErrNotReady, "bring the cluster's nodes back, see pvecm status", "%s/local is read-only: no quorum", d.o.PVEDir)
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
	old := func(name, found, wanted, why string) error {
		return refuse(errWrongHost, "apt update && apt full-upgrade", "%s %s, wanted %s or later: %s", name, found, wanted, why)
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
		return "", refuse(errWrongHost, "this is for a Proxmox VE node; on another host choose the lxc hypervisor", "the package %s is not installed", pkg)
	}
	return version, nil
}

// atLeast compares the numbers in two versions of one package. That is less
// than dpkg does, and all that PVE's own versions need.
func atLeast(found, wanted string) bool {
	_, found, _ = strings.Cut(":"+found, ":")
	numbers := func(v string) (list []int) {
		for part := range strings.FieldsFuncSeq(v, func(r rune) bool { return r < '0' || r > '9' }) {
			n, err := strconv.Atoi(part)
			if err != nil {
				return list // a number no version has
			}
			list = append(list, n)
		}
		return list
	}
	return slices.Compare(numbers(found), numbers(wanted)) >= 0
}

func (d *Driver) checkBridge(name string) error {
	if name == "" {
		return nil
	}
	hint := "name a bridge of this node; ip link show type bridge lists them"
	if strings.ContainsAny(name, "/") || name == "." || name == ".." {
		return refuse(driver.ErrNoBridge, hint, "%q is no name of an interface", name)
	}
	if _, err := os.Stat(filepath.Join(d.o.NetDir, name)); err != nil {
		return refuse(driver.ErrNoBridge, hint, "%s: %s", name, err)
	}
	return nil
}

// checkStorage looks whether storage can take a root file system of need
// bytes. One that allocates in full must have them free; of the others PVE
// does not say what an archive will take, and its packed size is the least.
func (d *Driver) checkStorage(ctx context.Context, storage string, need, packed int64) error {
	if storage == "" {
		return nil // the archive could not be read, and nothing was asked for
	}
	var st struct {
		Type    string `json:"type"`
		Content string `json:"content"`
		Enabled number `json:"enabled"`
		Active  number `json:"active"`
		Avail   number `json:"avail"`
	}
	if strings.ContainsAny(storage, ":,/ \n") {
		return refuse(driver.ErrNoStorage, storageHint, "%q is no name of a storage", storage)
	}
	if err := d.get(ctx, &st, "/storage/"+storage+"/status"); err != nil {
		return err
	}
	if st.Type != "lvm" {
		need = packed
	}
	switch {
	case st.Enabled == 0:
		return refuse(driver.ErrNoStorage, "pvesm set "+storage+" --disable 0", "storage '%s' is disabled", storage)
	case st.Active == 0:
		return refuse(driver.ErrNoStorage, "pvesm status says why", "storage '%s' is not active on node %s", storage, d.o.Node)
	case !slices.Contains(strings.FieldsFunc(st.Content, func(r rune) bool { return r == ',' || r == ' ' }), "rootdir"):
		return refuse(driver.ErrNoStorage, storageHint, "storage '%s' has the content %q, wanted rootdir in it", storage, st.Content)
	case int64(st.Avail) < need:
		return refuse(driver.ErrNoSpace, "make space on the storage, or name another", "storage '%s' has %d MiB free, wanted %d", storage, int64(st.Avail)>>20, need>>20)
	}
	return nil
}

const storageHint = "pvesm status lists the storages; one that takes guests has the content rootdir"

// checkTaken refuses a VMID that a VM has, or a guest of another node: to pct
// on this node there is no such guest, and its disks look like leftovers.
func (d *Driver) checkTaken(vmid int) error {
	list, err := d.vmlist()
	if err != nil {
		return err
	}
	guest, taken := list.IDs[strconv.Itoa(vmid)]
	if !taken {
		return nil
	}
	kind := map[string]string{"lxc": "a container", "qemu": "a VM"}[guest.Type]
	return refuse(driver.ErrExists, otherVMID, "it is %s (%s) of node %s", cmp.Or(kind, "a guest"), guest.Type, guest.Node)
}

// checkElsewhere is checkTaken without the guests of this node: a job for a
// guest that exists here may only want to finish it.
func (d *Driver) checkElsewhere(vmid int) error {
	list, err := d.vmlist()
	if err != nil {
		return nil // checkNode says what is wrong
	}
	if g := list.IDs[strconv.Itoa(vmid)]; g.Type == "lxc" && g.Node == d.o.Node {
		return nil
	}
	return d.checkTaken(vmid)
}

const otherVMID = "take another VMID; pvesh get /cluster/nextid knows a free one"

// checkLeftovers refuses to begin where the storage has volumes of that number
// already: a guest that somebody removed by hand left them, or a killed restore,
// and what this restore makes could not be told from them.
func (d *Driver) checkLeftovers(ctx context.Context, vmid int, storage string) error {
	if storage == "" {
		return nil // an error of its own already
	}
	volumes, err := d.volumes(ctx, vmid, storage)
	if err != nil || len(volumes) == 0 {
		return err
	}
	return refuse(driver.ErrExists, "take another VMID, or remove what is left with pvesm free "+strings.Join(volumes, "; pvesm free "),
		"of this VMID is the volume %s", strings.Join(volumes, ", "))
}

// volumes lists the disks of guest vmid on one storage.
func (d *Driver) volumes(ctx context.Context, vmid int, storage string) (ids []string, err error) {
	var list []struct {
		VolID   string `json:"volid"`
		Content string `json:"content"`
	}
	err = d.get(ctx, &list, "/storage/"+storage+"/content", "--vmid", strconv.Itoa(vmid))
	for _, v := range list {
		if v.Content == "rootdir" || v.Content == "images" {
			ids = append(ids, v.VolID)
		}
	}
	return ids, err
}
