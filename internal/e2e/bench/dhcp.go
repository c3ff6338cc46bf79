package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
)

// dhcp provisions a guest that gets its address by DHCP, and measures its boot.
func (f *guestField) dhcp(ctx context.Context, vmid int, counted samples) (err error) {
	stop, err := f.serveDHCP(ctx, vmid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	number := strconv.Itoa(vmid)
	if err := f.agentd(ctx, "provision", "--vmid", number, "--golden", f.archive, "--ip", "dhcp", "--wait", "0s"); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.agentd(context.WithoutCancel(ctx), "guest", "remove", "--force", number))
	}()
	// Its report first: who asks a booting guest again and again takes the processors that it boots with.
	if err := f.agentd(ctx, "provision", "--vmid", number, "--golden", f.archive); err != nil {
		return err
	}
	return f.docker(ctx, guest.Guest{VMID: vmid, Path: f.bed.LXCPath()}, dockerDHCP, counted)
}

// serveDHCP serves the guest's address on the bed's bridge until stop.
func (f *guestField) serveDHCP(ctx context.Context, vmid int) (stop func() error, err error) {
	dir, err := os.MkdirTemp("", "felhom-dhcp-")
	if err != nil {
		return nil, err
	}
	cmd := f.bed.DHCP(ctx, f.address(vmid).Addr().String(), filepath.Join(dir, "leases"))
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to end
		return os.RemoveAll(dir)
	}, nil
}

// docker waits until Docker is active in g, and counts when that was, by the
// guest's own systemd.
func (f *guestField) docker(ctx context.Context, g guest.Guest, contestant string, counted samples) error {
	stamp := func(property string, unit ...string) (int64, error) {
		out, err := g.Ask(ctx, append([]string{"systemctl", "show", "--value", "--property", property}, unit...)...)
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
		if err == nil && n == 0 {
			err = fmt.Errorf("systemd has no %s", property)
		}
		return n, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return guest.Poll(wait, func() error {
		began, err := stamp("UserspaceTimestampMonotonic")
		if err != nil {
			return err
		}
		active, err := stamp("ActiveEnterTimestampMonotonic", "docker.service")
		if err != nil {
			return err
		}
		counted.add(caseDocker, contestant, sample{Wall: time.Duration(active-began) * time.Microsecond})
		return nil
	})
}
