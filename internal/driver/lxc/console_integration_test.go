//go:build integration

package lxc_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestStatusOfAGuestThatDied: its init is killed behind the driver's back, and
// the end of its console is there to be shown.
func TestStatusOfAGuestThatDied(t *testing.T) {
	b := newBed(t)
	vmid := testbed.VMIDs(t, 1)[0]
	if err := b.Restore(t.Context(), vmid, driver.Spec{Archive: b.archive, Net: driver.Net{Bridge: b.bridge}}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.remove(t, vmid) })
	if err := b.Start(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(b.pid(t, vmid))
	if err != nil {
		t.Fatal(err)
	}
	console := filepath.Join(b.path, strconv.Itoa(vmid), "console.log")
	f, err := os.OpenFile(console, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\x1b[31mFailed to create control group inotify object: Too many open files\x1b[0m\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	init, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := init.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := b.Status(ctx, vmid)
		if err == nil && st.State == driver.Stopped {
			if st.ConsoleFile != console || len(st.Console) == 0 || st.Console[len(st.Console)-1] != "Failed to create control group inotify object: Too many open files" {
				t.Errorf("status %+v", st)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("status is %+v, %v", st, err)
		case <-tick.C:
		}
	}
}
