//go:build integration

package guest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestDHCPGuest boots one guest against a DHCP server that is there, that comes
// late, and that names no DNS server.
func TestDHCPGuest(t *testing.T) {
	s := theStack(t)
	if err := testbed.Require(t.Context(), os.Stderr, "dnsmasq"); err != nil {
		t.Fatal(err)
	}
	vmid := testbed.VMIDs(t, 1)[0]
	s.removeAfter(t, vmid)
	s.agentd(t, "provision", "--vmid", strconv.Itoa(vmid), "--hostname", "felhom-dhcp", "--golden", s.archive, "--no-start")
	g := s.guest(vmid)
	address := s.address(t, 210).Addr().String()
	t.Run("lease at boot", func(t *testing.T) {
		s.startDHCP(t, address, "192.0.2.53")
		appendTo(t, filepath.Join(g.Rootfs(), "etc/dhcpcd.conf"), "\ndebug\n")
		s.boot(t, vmid)
		wantAddress(t, g, address)
		wantResolver(t, g, "192.0.2.53")
		wantNoDelay(t, g, address)
		t.Logf("networking took %d ms, docker was active %d ms after the boot began",
			tookMillis(t, g, "networking.service"), sinceBootMillis(t, g, "docker.service"))
	})
	t.Run("lease without DNS", func(t *testing.T) {
		s.startDHCP(t, address, "")
		s.boot(t, vmid)
		wantAddress(t, g, address)
		wantResolver(t, g, "192.0.2.99")
	})
	t.Run("late server", func(t *testing.T) {
		s.boot(t, vmid)
		if out := ask(t, g, "ip", "-4", "-oneline", "address", "show", "dev", "eth0"); strings.Contains(out, "inet") {
			t.Errorf("address without a server: %s", out)
		}
		if out := ask(t, g, "ip", "-4", "route"); strings.Contains(out, "default") {
			t.Errorf("default route without a server: %s", out)
		}
		wantResolver(t, g, "192.0.2.99")
		const noLease = "no DHCP lease"
		poll(t, g, "the channel step to name the missing lease", []string{"journalctl", "--boot", "--unit=" + unit, "--output=cat"},
			func(out string) bool { return strings.Contains(out, noLease) })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		if err := guest.Poll(ctx, func() error {
			if out := g.Console(); !strings.Contains(out, noLease) {
				return fmt.Errorf("the console does not say %q:\n%s", noLease, out)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		s.startDHCP(t, address, "192.0.2.53")
		wantAddress(t, g, address)
		wantResolver(t, g, "192.0.2.53")
	})
}

// start starts the guest and stops it at the test's end.
func (s *stack) start(t *testing.T, vmid int) {
	t.Helper()
	if err := s.driver.Start(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.driver.Shutdown(context.Background(), vmid, 20*time.Second); err != nil {
			t.Error(err)
		}
	})
}

// boot starts the guest as PVE does, with the host's name server in its
// resolv.conf, waits until systemd is done, and stops it at the test's end.
func (s *stack) boot(t *testing.T, vmid int) {
	t.Helper()
	g := s.guest(vmid)
	file := filepath.Join(g.Rootfs(), "etc/resolv.conf")
	text := "# --- BEGIN PVE ---\nsearch host.example\nnameserver 192.0.2.99\n# --- END PVE ---\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.start(t, vmid)
	// Not Booted: without a network the bootstrap waits.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := guest.Poll(ctx, func() error {
		out, err := g.Ask(ctx, "systemctl", "is-active", "docker.service")
		if strings.TrimSpace(out) != "active" {
			return errors.Join(fmt.Errorf("docker is %q", out), err)
		}
		return nil
	}); err != nil {
		t.Fatal(err, "\n", g.Console())
	}
}

// startDHCP serves one address on the bed's bridge until the test ends. Without
// dns its leases name no server.
func (s *stack) startDHCP(t *testing.T, address, dns string) {
	t.Helper()
	option := "--dhcp-option=6"
	if dns != "" {
		option += "," + dns
	}
	var log bytes.Buffer
	cmd := s.bed.DHCP(context.WithoutCancel(t.Context()), address, filepath.Join(t.TempDir(), "leases"), option)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // Wait reports one that has ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
}

func ask(t *testing.T, g guest.Guest, argv ...string) string {
	t.Helper()
	out, err := g.Ask(t.Context(), argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantAddress(t *testing.T, g guest.Guest, want string) {
	t.Helper()
	poll(t, g, "address "+want, []string{"ip", "-4", "-oneline", "address", "show", "dev", "eth0"}, func(out string) bool { return strings.Contains(out, "inet "+want+"/") })
}

// wantResolver wants one name server. It comes after the address, from a hook.
func wantResolver(t *testing.T, g guest.Guest, want string) {
	t.Helper()
	poll(t, g, "name server "+want, []string{"cat", "/etc/resolv.conf"}, func(out string) bool {
		return strings.Count(out, "nameserver") == 1 && strings.Contains(out, "nameserver "+want+"\n")
	})
}

func poll(t *testing.T, g guest.Guest, want string, argv []string, good func(string) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // dhcpcd asks again after up to 64 s
	defer cancel()
	if err := guest.Poll(ctx, func() error {
		out, err := g.Ask(ctx, argv...)
		if err == nil && !good(out) {
			err = fmt.Errorf("want %s, got %s", want, out)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// wantNoDelay wants dhcpcd to take the address without a delay before it asks,
// and without a probe of what it got. Both took seven seconds. How long it takes
// depends on what else the machine does, so its debug messages are read.
func wantNoDelay(t *testing.T, g guest.Guest, address string) {
	t.Helper()
	argv := []string{"journalctl", "--boot", "--quiet", "--output=cat", "_COMM=dhcpcd"}
	poll(t, g, "a lease in the journal", argv, func(out string) bool { return strings.Contains(out, "leased "+address) })
	for line := range strings.Lines(ask(t, g, argv...)) {
		if strings.Contains(line, "delaying IPv4") || strings.Contains(line, "ARP probing") || strings.Contains(line, "probing address") {
			t.Errorf("want no delay and no probe, got: %s", line)
		}
	}
}

func monotonic(t *testing.T, g guest.Guest, unit, property string) int {
	t.Helper()
	argv := []string{"systemctl", "show", "--value", "--property", property}
	if unit != "" {
		argv = append(argv, unit)
	}
	n, err := strconv.Atoi(strings.TrimSpace(ask(t, g, argv...)))
	if err != nil {
		t.Fatal(err)
	}
	return n / 1000
}

func tookMillis(t *testing.T, g guest.Guest, unit string) int {
	t.Helper()
	return monotonic(t, g, unit, "ActiveEnterTimestampMonotonic") - monotonic(t, g, unit, "InactiveExitTimestampMonotonic")
}

func sinceBootMillis(t *testing.T, g guest.Guest, unit string) int {
	t.Helper()
	return monotonic(t, g, unit, "ActiveEnterTimestampMonotonic") - monotonic(t, g, "", "UserspaceTimestampMonotonic")
}
