package pct_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

// reachingLines are settings by which a guest's root gets at the node.
var reachingLines = []string{
	"hookscript: local:snippets/x.pl", "dev0: /dev/sda", "mp3: /dev/sdb,mp=/d", "mp4: /etc/../etc,mp=/d", "mp5: local-lvm:vm-8200-disk-3,mp=/d,idmap=passthrough",
	"lxc.mount.entry: /root root none bind 0 0", "lxc.apparmor.profile = unconfined", "lxc.hook.pre-start: /bin/sh", "lxc.cap.drop:",
	"lxc.idmap: u 0 0 1\nlxc.idmap: u 1 100001 65535\nlxc.idmap: g 0 100000 65536",
	"lxc.idmap: u 0 100000 65536\nlxc.idmap: g 0 0 1\nlxc.idmap: g 1 100001 65535",
	"lxc.idmap: u 0 65535 65536\nlxc.idmap: g 0 100000 65536",
	"lxc.idmap: u 0 100000 1\nlxc.idmap: g 0 100000 65536",
	"colour: red", "[pve:pending]\nhookscript: local:snippets/x.pl", "[pve:pending]\ndev0: /dev/kvm",
	"[pve:pending]\nfeatures: mknod=1,nesting=1",
}

// A guest whose configuration reaches the node is neither started nor changed,
// whoever wrote that.
func TestGuestReachesOut(t *testing.T) {
	cases := map[string]string{
		"privileged":         strings.Replace(guestConfig, "unprivileged: 1", "unprivileged: 0", 1),
		"no unprivileged":    strings.Replace(guestConfig, "unprivileged: 1\n", "", 1),
		"feature mknod":      strings.Replace(guestConfig, "nesting=1", "nesting=1,mknod=1", 1),
		"feature mount":      strings.Replace(guestConfig, "nesting=1", "nesting=1,mount=ext4", 1),
		"feature by word":    strings.Replace(guestConfig, "nesting=1", "nesting=1,force_rw_sys=on", 1),
		"rootfs directory":   strings.Replace(guestConfig, "local-lvm:vm-8200-disk-0", "/srv/root", 1),
		"rootfs device":      strings.Replace(guestConfig, "local-lvm:vm-8200-disk-0", "volume=/dev/sda", 1),
		"rootfs passthrough": strings.Replace(guestConfig, "size=4G", "size=4G,idmap=passthrough", 1),
	}
	for _, line := range reachingLines {
		cases[line] = guestConfig + line + "\n"
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			n, d := newDriver(t)
			n.SetConfig(vmid, text)
			wantClass(t, d.Start(t.Context(), vmid), driver.ErrRefused, "reaches out")
			wantClass(t, d.Attach(t.Context(), vmid, driver.Mount{Source: "/usr", Target: "/mnt"}), driver.ErrRefused, "reaches out")
			if calls := n.Calls(); len(calls) > 0 || n.Config(vmid) != text {
				t.Errorf("called %v, config\n%s", calls, n.Config(vmid))
			}
		})
	}
}

// TestMountsOfAnotherGuest: a guest's mount holds its token, so each guest may
// have its own mount and its own volumes, and no others.
func TestMountsOfAnotherGuest(t *testing.T) {
	n, _ := newDriver(t)
	o := options(n)
	o.MountDir = n.Dir("mounts")
	d := open(t, o)
	mounts := n.Dir("mounts")
	for _, dir := range []string{"8200/sub", "8201", "82000", "08200"} {
		if err := os.MkdirAll(filepath.Join(mounts, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own := driver.Mount{Source: filepath.Join(mounts, "8200"), Target: "/etc/felhom-bootstrap", ReadOnly: true}
	for value, ok := range map[string]bool{
		mounts + "/8200": true, mounts + "/8201": false, mounts + "/82000": false, mounts + "/08200": false, mounts + "/8200/sub": false,
		mounts: false, mounts + "/": false, mounts + "/8201/../8200": false, mounts + "//8200": false, mounts + "/8200/": false, n.Dir("local"): false, mounts + "work/8200": false,
		"local-lvm:vm-8200-disk-1": true, "local-lvm:subvol-8200-disk-1": true, "dir:8200/vm-8200-disk-1.raw": true, "zfs:base-9100-disk-0/vm-8200-disk-1": true,
		"dir:9100/base-9100-disk-0.qcow2/8200/vm-8200-disk-1.qcow2": true, "iscsi:0.0.0.scsi-36001405": true,
		"local-lvm:vm-8201-disk-0": false, "local-lvm:subvol-8201-disk-0": false, "dir:8201/vm-8201-disk-0.raw": false, "dir:8201/data.raw": false,
		"zfs:base-8200-disk-0/vm-8201-disk-1": false, "dir:8200/base-8200-disk-0.qcow2/8201/vm-8201-disk-1.qcow2": false, "zfs:basevol-8201-disk-0": false,
		"dir:8200/vm-8201-disk-0.raw": false, "dir:8201/vm-8200-disk-0.raw": false, "dir:8200/../8201/vm-8200-disk-0.raw": false,
	} {
		for _, line := range []string{"mp0: " + value + ",mp=/mnt", "mp0: mp=/mnt,volume=" + value, "[pve:pending]\nmp0: " + value + ",mp=/mnt"} {
			text := guestConfig + line + "\n"
			n.SetConfig(vmid, text)
			if err := d.Attach(t.Context(), vmid, own); ok && errors.Is(err, driver.ErrRefused) {
				t.Errorf("attach with %s: %v", line, err)
			} else if !ok {
				wantClass(t, err, driver.ErrRefused, "mp0")
				wantClass(t, d.Start(t.Context(), vmid), driver.ErrRefused, "mp0")
			}
		}
	}
	n.SetConfig(vmid, guestConfig)
	other := own
	other.Source = filepath.Join(mounts, "8201")
	wantClass(t, d.Attach(t.Context(), vmid, other), driver.ErrRefused, "8201")
	if strings.Contains(n.Config(vmid), "8201") {
		t.Errorf("the configuration is\n%s", n.Config(vmid))
	}
}

// Whatever way PVE came to it: what a restore made is looked at, and undone.
func TestRestoredReachesOut(t *testing.T) {
	for _, line := range append(reachingLines, "entrypoint: /bin/sh", "mp0: /etc,mp=/mnt", "features: mknod=1", "unprivileged: 0", "[snap]\nmemory: 512") {
		t.Run(line, func(t *testing.T) {
			n, d := newDriver(t)
			n.SetFaults(pcttest.Faults{RestoreAdds: line + "\n"})
			err := d.Restore(t.Context(), vmid, spec(), nil)
			if err == nil || !strings.Contains(err.Error(), "reaches out") && !strings.Contains(err.Error(), "privileged") {
				t.Errorf("error %v", err)
			}
			_, err = d.Guest(t.Context(), vmid)
			wantClass(t, err, driver.ErrNotFound)
			if left := n.Volumes("local-lvm"); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}
