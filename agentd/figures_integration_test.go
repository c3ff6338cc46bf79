//go:build integration

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
)

// TestFiguresOfARealGuest measures a guest of LXC as PVE's configuration would
// describe it, with the capabilities that the unit leaves to the daemon.
func TestFiguresOfARealGuest(t *testing.T) {
	h := newLXCHost(t)
	id := h.newVMID(t)
	h.run(t, "provision", "--vmid", id, "--wait", "0s").works(t, id)
	t.Cleanup(func() { h.remove(t, id) })
	no(t, os.MkdirAll(h.path("pve/lxc"), 0o700))
	config := "rootfs: local-lvm:vm-1-disk-0,size=8G\nmp0: local-lvm:vm-1-disk-1,mp=/etc/felhom-bootstrap,size=1G\nmp1: local-lvm:vm-1-disk-2,mp=/etc,size=1G\nmp2: local-lvm:vm-1-disk-3,mp=/proc,size=1G\n"
	no(t, os.WriteFile(h.path("pve/lxc/"+id+".conf"), []byte(config), 0o600))

	program, err := filepath.Abs(os.Args[0])
	no(t, err)
	meter := exec.CommandContext(t.Context(), "setpriv", "--inh-caps=-all", "--bounding-set=-all,+chown,+dac_read_search,+sys_ptrace", "--no-new-privs",
		program, "-test.run", "^TestMeasureWithFewCapabilities$") //nolint:gosec // this program
	meter.Env = append(os.Environ(), "FELHOM_METER="+id, "FELHOM_METER_DIR="+h.dir)
	out, err := meter.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	var usage []driver.Usage
	if err := json.Unmarshal(line, &usage); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var st unix.Statfs_t
	no(t, unix.Statfs(h.path("guests/"+id+"/rootfs"), &st))
	if len(usage) != 2 || usage[0].Path != "/" || usage[1].Path != "/etc/felhom-bootstrap" {
		t.Fatalf("figures %+v, want those of / and /etc/felhom-bootstrap", usage)
	}
	if want := int64(st.Blocks) * st.Frsize; usage[0].Size != want { //nolint:gosec // blocks of a disk
		t.Errorf("the root file system has %d bytes, want %d", usage[0].Size, want)
	}

	// The same guest is detached for a snapshot, and attached again.
	h.run(t, "guest", "detach", id, "--for", "holiday").fails(t, 2, "want one of snapshot")
	h.run(t, "guest", "detach", id, "--for", "snapshot").works(t, "guest "+id+" is stopped and has no config mount")
	if res := h.run(t, "guest", "list"); !strings.Contains(res.stdout, "detached for a snapshot") {
		t.Errorf("guest list:\n%s", res.stdout)
	}
	h.run(t, "guest", "attach", id).works(t, "with a new token; all others have ended; it was started")
	h.isWhole(t, id)
}

// TestMeasureWithFewCapabilities is the process of TestFiguresOfARealGuest.
func TestMeasureWithFewCapabilities(t *testing.T) {
	id, dir := os.Getenv("FELHOM_METER"), os.Getenv("FELHOM_METER_DIR")
	if id == "" {
		return // it is only a part of another test
	}
	vmid, err := strconv.Atoi(id)
	no(t, err)
	usage, err := pct.NewMeter(pct.Options{PVEDir: filepath.Join(dir, "pve"), LXCDir: filepath.Join(dir, "guests")}).Storage(t.Context(), vmid)
	no(t, err)
	no(t, json.NewEncoder(os.Stdout).Encode(usage))
}
