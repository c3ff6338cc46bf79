package driver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// TestFindBridge: an interface that is not a bridge, such as lo or a network
// card, takes no guests.
func TestFindBridge(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"vmbr0/bridge", "ovsbr0", "eno1", "tap0"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, event := range map[string]string{"ovsbr0": "DEVTYPE=openvswitch\nINTERFACE=ovsbr0\n", "tap0": "DEVTYPE=tun\nINTERFACE=tap0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name, "uevent"), []byte(event), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"vmbr0": "", "ovsbr0": "", "eno1": `the interface "eno1" exists and is not a bridge`, "tap0": "is not a bridge", "vmbr1": `"vmbr1"`,
		"": "not the name", ".": "not the name", "..": "not the name", "vmbr0/bridge": "not the name",
	} {
		err := driver.FindBridge(dir, name)
		if want == "" && err != nil || want != "" && (!errors.Is(err, driver.ErrNoBridge) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", name, err, want)
		}
	}
	if err := driver.FindBridge("/sys/class/net", "lo"); !errors.Is(err, driver.ErrNoBridge) {
		t.Errorf("lo: %v", err)
	}
}
