package driver_test

import (
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// A guest may have its own directory of the mounts, and nothing else of the host.
func TestCheckOwner(t *testing.T) {
	for source, ok := range map[string]bool{
		"/srv/mounts/8200": true, "local-lvm:vm-8200-disk-1": true, "dir:8200/vm-8200-disk-1.raw": true, "iscsi:0.0.0.scsi-36001405": true,
		"/srv/mounts/8201": false, "/srv/mounts/82000": false, "/srv/mounts/08200": false, "/srv/mounts/8200/sub": false, "/srv/mounts/8200/": false,
		"/srv/mounts//8200": false, "/srv/mounts/../mounts/8200": false, "/srv/mounts": false, "/srv/mountsx/8200": false, "/etc": false, "/": false,
		"/dev/sda": false, "mounts/8200": false, "": false, "local-lvm:": false, "local-lvm:vm-8201-disk-0": false, "dir:8201/x.raw": false,
		"dir:8200/../8201/vm-8200-disk-0.raw": false,
	} {
		for _, dir := range []string{"/srv/mounts", "/srv/mounts/"} {
			if err := driver.CheckOwner(dir, 8200, driver.Mount{Source: source, Target: "/mnt"}); (err == nil) != ok {
				t.Errorf("%q with mounts below %s: error %v, want one: %v", source, dir, err, !ok)
			}
		}
	}
	if err := driver.CheckOwner("", 8200, driver.Mount{Source: "/srv/data", Target: "/mnt"}); err != nil {
		t.Errorf("without a directory of mounts: %v", err)
	}
}
