//go:build integration

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/e2e/tiny"
)

// TestAGuestMovesToANewGoldenImage does what docs/golden-change.md says, with real guests.
func TestAGuestMovesToANewGoldenImage(t *testing.T) {
	h := newLXCHost(t)
	older, newer := h.newVMID(t), h.newVMID(t)
	const data = "var/lib/docker/volumes/data"
	rootfs := func(vmid string) string { return h.path("guests/" + vmid + "/rootfs") }
	ageOf := func(vmid string) goldenid.Age {
		var rows []overview.Row
		res := h.run(t, "guest", "list", "--json")
		no(t, json.Unmarshal([]byte(res.stdout), &rows))
		for _, row := range rows {
			if strconv.Itoa(row.Guest) == vmid {
				return row.GoldenAge
			}
		}
		t.Fatalf("no guest %s in %s", vmid, res.stdout)
		return ""
	}

	h.run(t, "provision", "--vmid", older, "--wait", "0s").works(t, older)
	t.Cleanup(func() { h.remove(t, newer) })
	no(t, os.MkdirAll(filepath.Join(rootfs(older), data), 0o700))
	no(t, os.WriteFile(filepath.Join(rootfs(older), data, "kept"), []byte("precious\n"), 0o600))
	if got := ageOf(older); got != goldenid.Same {
		t.Errorf("before there is a new image: %q", got)
	}

	h.golden = h.archive(t, tiny.Options{Padding: 1 << 20})
	later := time.Now().Add(time.Hour)
	no(t, os.Chtimes(h.golden, later, later))
	h.writeConfig(t, h.path("guests"))
	if got := ageOf(older); got != goldenid.Older {
		t.Errorf("with a new image: %q", got)
	}
	if res := h.run(t, "guest", "list"); !strings.Contains(res.stdout, "its golden image is of ") {
		t.Errorf("guest list:\n%s", res.stdout)
	}

	h.run(t, "provision", "--vmid", newer, "--no-start", "--wait", "0s").works(t, newer)
	vmid, err := strconv.Atoi(older)
	no(t, err)
	no(t, lxc.New(lxc.Options{Path: h.path("guests")}).Shutdown(t.Context(), vmid, time.Minute))
	cp := exec.CommandContext(t.Context(), "cp", "-a", "--parents", data, rootfs(newer)+"/")
	cp.Dir = rootfs(older)
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.run(t, "provision", "--vmid", newer, "--wait", "0s").works(t, newer)
	h.isWhole(t, newer)
	h.run(t, "guest", "remove", older).works(t, "guest "+older+" removed")
	h.nothingLeft(t, older)
	if got, err := os.ReadFile(filepath.Join(rootfs(newer), data, "kept")); string(got) != "precious\n" {
		t.Errorf("the data is %q, %v", got, err)
	}
	if got := ageOf(newer); got != goldenid.Same {
		t.Errorf("the new guest: %q", got)
	}
}
