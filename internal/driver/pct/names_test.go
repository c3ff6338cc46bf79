package pct

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// TestNamesAreNotWords has PVE quote names that others chose: directories of storages,
// archives, sources of mounts and the members of an archive can be called anything.
func TestNamesAreNotWords(t *testing.T) {
	names := []string{
		"No space left on device", "x: No space left on device", "a No space left on device: b", "disk quota exceeded", "CT is locked (backup)",
		"CT 8200 already exists", "CT 8200 not running", "protection mode enabled", "please run as root", "no quorum!", "used in HA resources", "bridge does not exist",
		"Parameter verification failed", "storage: No such storage", "detected modified configuration", "already running", "got lock timeout", "MTU size", "ipcc_send_rec[1] failed",
	}
	for _, test := range []struct {
		text string // with %s for the name
		want error  // nil: the class is not known
	}{
		{"can't find file '/mnt/%s/vzdump-lxc-9100.tar.zst'", driver.ErrArchive},
		{"unable to restore CT 8200 - can't find file '/mnt/%s'", driver.ErrArchive},
		{"unable to activate storage 'nfs' - directory '/mnt/%s' does not exist or is unreachable", driver.ErrNoStorage},
		{"unable to create directory '/mnt/%s/images': Permission denied at /usr/share/perl5/PVE/Storage.pm line 1", nil},
		{"tar: ./%s: Cannot open: Permission denied\nunable to restore CT 8200 - command 'lxc-usernsexec -- tar xpf - -C /var/lib/lxc/8200/rootfs' failed: exit code 2", driver.ErrArchive},
		{"tar: ./a: Cannot create symlink to '%s': Permission denied\ncommand 'tar xpf -' failed: exit code 2", driver.ErrArchive},
		{"extracting archive '/mnt/%s'\nunable to detect OS distribution", driver.ErrArchive},
		{"extracting archive '/mnt/%s'\ntar: ./a: Cannot write: No space left on device\ncommand 'tar xpf -' failed: exit code 2", driver.ErrNoSpace},
		{"tar: ./%s: Cannot write: No space left on device\ncommand 'tar xpf -' failed: exit code 2", driver.ErrNoSpace},
		{"storage 'local' is in use: volume 'local:8200/a.raw' does not exist%.0s", driver.ErrStart},
		{"symlink encountered at: //srv/%s", nil},
	} {
		for _, name := range names {
			text := fmt.Sprintf(test.text, name)
			args := []string{"restore", "8200", "/mnt/" + name, "--description", "no, not running, CT is locked", "--mp0", "/srv/" + name + ",mp=/etc/x,ro=1"}
			for _, out := range [][2]string{{"", text}, {text, ""}} {
				err := classify("pct restore 8200", args, out[0], out[1])
				if test.want != nil && !errors.Is(err, test.want) || test.want == nil && kindOf(err) != nil {
					t.Errorf("%q: %v, want class %v, got %v", text, err, test.want, kindOf(err))
				}
				if out[1] != "" && strings.Contains(text, name) && !strings.Contains(err.Error(), name) && !strings.Contains(text, "\n") {
					t.Errorf("%q: the message has lost the name: %v", text, err)
				}
			}
		}
	}
}

func kindOf(err error) error {
	for _, r := range rules {
		if errors.Is(err, r.is) {
			return r.is
		}
	}
	return nil
}
