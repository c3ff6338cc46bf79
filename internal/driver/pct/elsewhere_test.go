package pct_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver/pct"
)

func TestIsElsewhere(t *testing.T) {
	dir := t.TempDir()
	if pct.IsElsewhere(dir, 8200) {
		t.Error("without a cluster file system a guest is elsewhere")
	}
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "lxc"), 0o700), os.MkdirAll(filepath.Join(dir, "qemu-server"), 0o700),
		os.WriteFile(filepath.Join(dir, "lxc/8200.conf"), nil, 0o600), os.WriteFile(filepath.Join(dir, "qemu-server/8202.conf"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, ".vmlist"), []byte(`{"version":3,"ids":{"8200":{"node":"a","type":"lxc","version":1},"8201":{"node":"b","type":"lxc","version":2},"8202":{"node":"a","type":"qemu","version":3}}}`), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	for vmid, node := range map[int]string{8200: "", 8201: "b", 8202: "", 8203: ""} {
		if got, want := pct.IsElsewhere(dir, vmid), node != ""; got != want {
			t.Errorf("guest %d is elsewhere: %v, want %v", vmid, got, want)
		}
		if got := pct.NodeOf(dir, vmid); got != node {
			t.Errorf("guest %d is on node %q, want %q", vmid, got, node)
		}
	}
}
