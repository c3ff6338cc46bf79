package seal

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/fault"
)

// The table and the code agree: paths or an action for each rule with a Seal
// text, and no others.
func TestActionsMatchTable(t *testing.T) {
	all := actions()
	for _, r := range rules.All() {
		_, ok := all[r.ID]
		if ok = ok || len(r.Paths()) > 0; ok != (r.Seal != "") {
			t.Errorf("rule %s: action %v, text %q", r.ID, ok, r.Seal)
		}
		delete(all, r.ID)
	}
	for id := range all {
		t.Errorf("action for unknown rule %s", id)
	}
}

// The guards are tested by themselves and never through Apply: a broken guard
// must fail a test, not seal the machine that runs it.
func TestRunningSystemIsRefused(t *testing.T) {
	for _, name := range []string{"/", "/../", "/proc/self/root"} {
		err := checkRoot(name)
		if fault.Of(err) != fault.Misuse || err == nil || !strings.Contains(err.Error(), "is the running system") {
			t.Errorf("checkRoot(%q) = %v, want misuse: the running system", name, err)
		}
	}
	if running, err := isRunningSystem(t.TempDir()); running || err != nil {
		t.Errorf("a temporary directory is the running system: %v, %v", running, err)
	}
}

func TestMountBelow(t *testing.T) {
	const info = "22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:5 / /dev rw - devtmpfs dev rw\n24 22 0:6 / /srv/a\\040b/proc rw - proc proc rw\n"
	for _, tt := range []struct{ name, dir, want string }{
		{"the root itself has mounts", "/", "/dev"},
		{"a mount point alone", "/dev", ""},
		{"no mounts", "/srv/c", ""},
		{"prefix of a name", "/de", ""},
		{"escaped name", "/srv/a b", "/srv/a b/proc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := mountBelow(info, tt.dir); err != nil || got != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
