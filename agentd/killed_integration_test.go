//go:build integration

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/soak"
)

// TestKilledProvisionAtRandom ends provision by SIGKILL anywhere, alone or with all that it
// started. The same command makes a whole guest of what is there, or guest remove
// removes all of it; either leaves nothing over.
func TestKilledProvisionAtRandom(t *testing.T) {
	random, rounds := soak.Start(t, 3)
	h := newLXCHost(t)
	vmid := h.newVMID(t)
	started := time.Now()
	h.run(t, h.provision(vmid, "--golden", h.large)...).works(t, ": provisioned")
	full := time.Since(started)
	h.remove(t, vmid)
	for i := range rounds {
		vmid := h.newVMID(t)
		args := h.provision(vmid, "--golden", h.large)
		when := fmt.Sprintf("round %d, guest %s, %s", i, vmid, soak.Kill(t, h.command(args...), random, full))
		if random.IntN(3) > 0 {
			again := h.run(t, args...)
			if again.code != 0 {
				t.Fatalf("%s: the same command again: exit code %d\n%s", when, again.code, again.stderr)
			}
			h.isWhole(t, vmid)
			h.assertValidToken(t, when, vmid)
			h.run(t, args...).works(t, ": unchanged")
		}
		// Killed before its first change, it left nothing to remove.
		if removed := h.run(t, "guest", "remove", "--force", vmid); removed.code != 0 && !strings.Contains(removed.stderr, "knows no guest of that VMID") {
			t.Fatalf("%s: guest remove: exit code %d\n%s", when, removed.code, removed.stderr)
		}
		h.nothingLeft(t, vmid)
		soak.AwaitNothing(t, when, h.dir)
		if t.Failed() {
			t.Fatal(when)
		}
	}
}

// assertValidToken checks that the token in the guest's mount is one that the host takes.
func (h *lxcHost) assertValidToken(t *testing.T, when, vmid string) {
	t.Helper()
	data, err := os.ReadFile(h.path("mounts/" + vmid + "/bootstrap.json"))
	no(t, err)
	boot, findings := contract.Parse(data)
	no(t, findings.Err())
	tok, err := token.Parse(boot.LocalAPIToken.Reveal())
	no(t, err)
	store, err := guests.Open(h.path("state/guests"), h.path("state"), time.Now)
	no(t, err)
	defer func() { no(t, store.Close()) }()
	if _, err := store.Authenticate(tok); err != nil {
		t.Errorf("%s: the token in the mount of guest %s: %v", when, vmid, err)
	}
	number, err := strconv.Atoi(vmid)
	no(t, err)
	record, err := store.Get(number)
	no(t, err)
	if image := boot.ControllerImage.String(); record.ControllerImage != "" && record.ControllerImage != image { // "": the configuration's
		t.Errorf("%s: guest %s: the record has image %s, the mount %s", when, vmid, record.ControllerImage, image)
	}
}

// TestKilledRolloutAtRandom ends guest rollout by SIGKILL anywhere: it continues with
// --resume if it had started, and otherwise starts. No guest is left out, and nothing is left
// over.
func TestKilledRolloutAtRandom(t *testing.T) {
	random, rounds := soak.Start(t, 3)
	h := newLXCHost(t)
	defer h.serve(t)()
	var vmids []string
	for range 5 {
		vmid := h.newVMID(t)
		h.run(t, h.provision(vmid, "--no-start")...).works(t, ": provisioned")
		vmids = append(vmids, vmid)
	}
	rollout := func(image string) []string {
		return []string{"guest", "rollout", "--image", image, "--all", "--wave", "2", "--json"}
	}
	started := time.Now()
	h.run(t, rollout("registry.example/app:first")...).works(t, `"written": 5`)
	full := time.Since(started)
	for i := range rounds {
		image := fmt.Sprintf("registry.example/app:%d", i)
		when := fmt.Sprintf("round %d, %s", i, soak.Kill(t, h.command(rollout(image)...), random, full))
		again := h.run(t, rollout(image)...)
		if again.code == 3 && strings.Contains(again.stderr, "guest rollout --resume continues it") {
			again = h.run(t, "guest", "rollout", "--resume", "--json")
		}
		if again.code != 0 || !strings.Contains(again.stdout, `"state": "done"`) {
			t.Fatalf("%s: the same command again: exit code %d\n%s%s", when, again.code, again.stdout, again.stderr)
		}
		for _, vmid := range vmids {
			h.assertValidToken(t, when, vmid)
			if data, err := os.ReadFile(h.path("mounts/" + vmid + "/bootstrap.json")); err != nil || !strings.Contains(string(data), image) {
				t.Errorf("%s: guest %s was left out: %v", when, vmid, err)
			}
		}
		for _, name := range []string{"rollout.json", "rollout.lock"} {
			if _, err := os.Lstat(h.path("state/" + name)); !os.IsNotExist(err) {
				t.Errorf("%s: %s is left over: %v", when, name, err)
			}
		}
		if left := temporaries(t, h.path("state"), h.path("mounts")); len(left) > 0 {
			t.Errorf("%s: left over: %v", when, left)
		}
		if t.Failed() {
			return
		}
	}
	for _, vmid := range vmids {
		h.run(t, "guest", "remove", vmid).works(t, "removed")
		h.nothingLeft(t, vmid)
	}
}

// temporaries lists the files below directories that killed commands left. The daemon,
// which is at work there, is a process.
func temporaries(t *testing.T, dirs ...string) (left []string) {
	t.Helper()
	for _, dir := range dirs {
		for _, name := range soak.Left(t, dir) {
			if strings.HasPrefix(name, dir) {
				left = append(left, name)
			}
		}
	}
	return left
}
