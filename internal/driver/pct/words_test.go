package pct

import (
	"errors"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// TestWordsOfStorages holds texts of PVE's storages, cluster file system and
// signals that pass, or that say something else than the line they end with.
func TestWordsOfStorages(t *testing.T) {
	const tar = "command 'lxc-usernsexec -m u:0:100000:65536 -- tar xpf - --zstd -C /var/lib/lxc/8200/rootfs' failed: "
	for _, test := range []struct {
		text string
		want error
	}{
		{"unable to restore CT 8200 - cfs-lock 'storage-nfs' error: got lock request timeout", driver.ErrNotReady},
		{"unable to restore CT 8200 - error with cfs lock 'storage-nfs': no quorum!", driver.ErrNotReady},
		{"unable to create image: got lock timeout - aborting command", driver.ErrNotReady},
		{"ipcc_send_rec[1] failed: Connection refused\nUnable to load access control list: Connection refused", driver.ErrNotReady},
		{"unable to open file '/etc/pve/nodes/pve/lxc/8200.conf.tmp.1234' - Permission denied", driver.ErrNotReady},
		{"close (rename) atomic file '/etc/pve/nodes/pve/lxc/8200.conf' failed: Input/output error", driver.ErrNotReady},
		{"zfs error: cannot destroy 'rpool/data/subvol-8200-disk-0': dataset is busy", driver.ErrNotReady},
		{"rbd error: rbd: error: image still has watchers", driver.ErrNotReady},
		{"command 'zfs list -o name' failed: got timeout", driver.ErrNotReady},
		{"unable to restore CT 8200 - " + tar + "got signal 9", driver.ErrNotReady},
		{"unable to restore CT 8200 - " + tar + "interrupted by signal", driver.ErrNotReady},
		{"unable to restore CT 8200 - " + tar + "exit code 2", driver.ErrArchive},
		{"Cannot create new thin volume, free space in thin pool pve/data reached threshold.", driver.ErrNoSpace},
		{"could not activate storage 'local-zfs', zpool is not imported", driver.ErrNoStorage},
		{"unable to activate storage 'nfs' - directory '/mnt/pve/nfs' does not exist or is unreachable", driver.ErrNoStorage},
		{"no such logical volume pve/data", driver.ErrNoStorage},
		{"  Volume group \"pve2\" not found\n  Cannot process volume group pve2", driver.ErrNoStorage},
		{"no such cluster node 'nope'", driver.ErrWrongHost},
		{"CT 8200 already exists on node 'pve'", driver.ErrExists},
		{"unable to create CT 8200: VM 8200 already exists on node 'pve'", driver.ErrExists},
	} {
		if err := classify("pct restore 8200", nil, "", test.text); !errors.Is(err, test.want) {
			t.Errorf("%q: %v, want class %q", test.text, err, test.want)
		}
	}
}
