//go:build integration

package doctor

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/isolate"
)

// TestBridgeThatTakesAGuestsAddress asks the kernel: bridges in a network namespace of the
// test, whose guests are ends of pairs with the other end in one more namespace.
func TestBridgeThatTakesAGuestsAddress(t *testing.T) {
	if err := testbed.Require(t.Context(), os.Stderr, "ip", "unshare"); err != nil {
		t.Fatal(err)
	}
	if !isolate.Test(t) {
		return
	}
	// The thread ends with the test, and the namespace with it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	sys := t.TempDir()
	if err := unix.Mount("sysfs", sys, "sysfs", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(sys, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	// Not t.Context: it is done before the guest is told to end.
	guest := exec.CommandContext(context.WithoutCancel(t.Context()), "unshare", "--net", "sh", "-c", "echo up; exec cat")
	in, err := guest.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := guest.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends cat
		if err := guest.Wait(); err != nil {
			t.Error(err)
		}
	})
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	script := func(text string) {
		t.Helper()
		text = strings.ReplaceAll(text, "GUEST", "netns $PID")
		sh := exec.CommandContext(t.Context(), "sh", "-ec", text)
		sh.Env = append(os.Environ(), "PID="+strconv.Itoa(guest.Process.Pid))
		if said, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", text, err, said)
		}
	}
	const (
		bridge  = "ip link add br0 type bridge; ip link set br0 up; ip address add 192.0.2.1/24 dev br0\n"
		first   = "ip link add veth1 address fe:00:00:00:00:01 type veth peer name peer1; ip link set peer1 GUEST; ip link set veth1 master br0\n"
		lower   = "ip link add veth2 address 0e:00:00:00:00:02 type veth peer name peer2; ip link set peer2 GUEST; ip link set veth2 master br0\n"
		network = "ip link add up1 address 52:00:00:00:00:01 type veth peer name up2; ip link set up1 master br0\n"
		pveWall = "ip link add fwpr8200p0 address 12:00:00:00:00:01 type veth peer name fwln8200i0; ip link set fwpr8200p0 master br0\n"
		own     = "ip link set br0 address 02:00:00:00:00:01\n"
	)
	for _, c := range []struct{ name, script, want string }{
		{"without a port", bridge, "takes a guest's"},
		{"with an own address", bridge + own, ""},
		{"that was made with its address", strings.Replace(bridge, "br0 type", "br0 address 02:00:00:00:00:01 type", 1) + first, ""},
		{"with a guest", bridge + first, "of veth1"},
		{"with a guest and an own address", bridge + first + own, ""},
		{"with its guest's address as its own", bridge + first + "ip link set br0 address fe:00:00:00:00:01", ""},
		{"whose guest is gone", bridge + first + "ip link delete veth1\n", "takes a guest's"},
		{"with a network", bridge + network, ""},
		{"with a network and a guest", bridge + network + first, ""},
		{"with a network and a guest below it", bridge + network + first + lower, "of veth2"},
		{"with a network and PVE's firewall below it", bridge + network + pveWall, "of fwpr8200p0"},
		{"on which the host has no address", strings.Replace(bridge, "ip address add 192.0.2.1/24 dev br0", "", 1) + first, ""},
	} {
		script(c.script)
		got := doctor{Options{Config: config.Config{Bridge: "br0"}, NetDir: sys + "/class/net"}}.bridge(t.Context())
		script("for i in br0 up1 veth1 veth2 fwpr8200p0; do ip link delete $i 2>/dev/null || true; done")
		want := checks.OK
		if c.want != "" {
			want = checks.Warning
		}
		if len(got) != 1 || got[0].Result != want || !strings.Contains(got[0].Reason, c.want) {
			t.Errorf("a bridge %s: got %+v, want %s with %q", c.name, got, want, c.want)
		}
	}
}
