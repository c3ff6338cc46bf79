package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// What is measured of guests.
const (
	caseProvision   = "provision to running"
	bareRestore     = "tar -x through the id map, then lxc-start"
	syncedRestore   = "tar -x through the id map, sync, then lxc-start"
	felhomProvision = "felhom-agentd provision --wait 0s"

	caseBoot  = "boot"
	bootStep  = "guest's init to the bootstrap's first step"
	bootReady = "guest's init to controller ready"
	runReady  = "container started to controller ready"

	caseDocker   = "guest's init to docker active"
	dockerStatic = "fixed address"
	dockerDHCP   = "address by DHCP"

	casePlug    = "hotplug"
	plugService = "beginning of the adapter's Attach to the service's process"
)

// plugs is how often a mount is plugged into one guest.
const plugs = 30

// What a person does without the product: the programs and options that PVE has
// for a restore, and liblxc's own start.
const (
	bareUnpack = `exec lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- \
  tar -x -p --zstd --numeric-owner --xattrs --xattrs-include='user.*' --xattrs-include=security.capability --exclude './dev/*' -f "$1" -C "$2/rootfs"`
	bareSync  = `exec sync -f "$2/rootfs"`
	bareStart = `set -e
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec lxc-start --daemon --lxcpath "$(dirname "$2")" --name "$(basename "$2")"`
)

// guestField is what guests are measured on.
type guestField struct {
	bed     testbed.Bed
	host    *host.Host
	archive string
	driver  *lxc.Driver
	log     io.Writer
	samples samples
}

// benchGuest measures what the product adds to the time from an archive to a
// guest's controller. The two contestants take turns.
func benchGuest(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	bed, err := testbed.Find()
	if err != nil {
		return fault.Wrap(fault.NotReady, err)
	}
	if err := testbed.Require(ctx, stderr, "lxc-start", "newuidmap", "mmdebstrap", "nsenter", "zstd", "dnsmasq"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "felhom-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	path := bed.LXCPath()
	f := &guestField{bed: bed, log: stderr, samples: samples{}, driver: lxc.New(lxc.Options{Path: path, Storage: directory.New(path)})}
	if f.host, err = host.Start(ctx, bed, host.Settings{Binary: filepath.Join(o.dist, "felhom-agentd"), Dir: dir, Image: o.image, LXC: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.host.Stop()) }()
	if f.archive, err = guest.Bake(ctx, filepath.Join(o.dist, "felhom-golden"), bed, dir, stderr); err != nil {
		return err
	}
	for round := range o.builds + 1 {
		_, _ = fmt.Fprintf(stderr, "guest round %d of %d\n", round+1, o.builds+1)
		counted := f.samples
		if round == 0 { // warms file caches
			counted = nil
		}
		if err := f.round(ctx, round, counted); err != nil {
			return err
		}
	}
	return f.print(stdout, o)
}

// round provisions one guest each way, in turns, and plugs the mount into the one of felhom-agentd.
func (f *guestField) round(ctx context.Context, round int, counted samples) (err error) {
	const vmid = 8400
	parts := []func() error{
		func() error { return f.provision(ctx, vmid, counted) },
		func() error { return f.bare(ctx, vmid+1, counted) },
		func() error { return f.dhcp(ctx, vmid+2, counted) },
	}
	if round%2 == 1 {
		slices.Reverse(parts)
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

func (f *guestField) provision(ctx context.Context, vmid int, counted samples) (err error) {
	number := strconv.Itoa(vmid)
	start := time.Now()
	if err := f.agentd(ctx, "provision", "--vmid", number, "--golden", f.archive, "--ip", f.address(vmid).String(), "--wait", "0s"); err != nil {
		return err
	}
	counted.add(caseProvision, felhomProvision, sample{Wall: time.Since(start)})
	defer func() {
		err = errors.Join(err, f.agentd(context.WithoutCancel(ctx), "guest", "remove", "--force", number))
	}()
	if err := f.agentd(ctx, "provision", "--vmid", number, "--golden", f.archive); err != nil { // waits for its report
		return err
	}
	g := guest.Guest{VMID: vmid, Path: f.bed.LXCPath()}
	if err := errors.Join(f.boot(g, counted), f.docker(ctx, g, dockerStatic, counted)); err != nil {
		return err
	}
	if counted == nil {
		return nil
	}
	return f.plug(ctx, g, counted)
}

// boot reads what the guest itself recorded of its first run.
func (f *guestField) boot(g guest.Guest, counted samples) error {
	var r struct {
		Boot struct {
			RunMS float64 `json:"run_ms"`
		} `json:"boot"`
		Steps []struct {
			Step       string  `json:"step"`
			StartMS    float64 `json:"start_ms"`
			DurationMS float64 `json:"duration_ms"`
		} `json:"steps"`
	}
	data, err := os.ReadFile(filepath.Join(g.Rootfs(), "var/lib/felhom/bootstrap-result.json"))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return err
	}
	for _, s := range r.Steps {
		switch s.Step {
		case "mount":
			counted.add(caseBoot, bootStep, sample{Wall: milli(r.Boot.RunMS + s.StartMS)})
		case "ready":
			counted.add(caseBoot, bootReady, sample{Wall: milli(r.Boot.RunMS + s.StartMS + s.DurationMS)})
			counted.add(caseBoot, runReady, sample{Wall: milli(s.DurationMS)})
		}
	}
	return nil
}

func milli(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// plug takes the mount out of the running guest by the kernel's call alone, so
// that the adapter has nothing to write: what is measured is its questions to
// liblxc, the mount, and systemd in the guest.
func (f *guestField) plug(ctx context.Context, g guest.Guest, counted samples) error {
	const unit = "felhom-controller-bootstrap.service"
	number := strconv.Itoa(g.VMID)
	m := driver.Mount{Source: f.host.Mount(number), Target: "/etc/felhom-bootstrap", ReadOnly: true}
	started := func() (int64, error) {
		out, err := g.Ask(ctx, "systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value", unit)
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	}
	for range plugs {
		before, err := started()
		if err != nil {
			return err
		}
		if _, err := g.Ask(ctx, "umount", m.Target); err != nil {
			return err
		}
		// systemd reads the list of mounts a few times a second at most, and
		// does not notice a mount that is back before that.
		if err := errors.Join(f.ended(ctx, g, unit), f.ended(ctx, g, `etc-felhom\x2dbootstrap.mount`)); err != nil {
			return err
		}
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return err
		}
		if err := f.driver.Attach(ctx, g.VMID, m); err != nil {
			return err
		}
		var at int64
		wait, cancel := context.WithTimeout(ctx, 20*time.Second)
		err = guest.Poll(wait, func() error {
			if at, err = started(); err == nil && at == before {
				err = errors.New("the service was not started")
			}
			return err
		})
		cancel()
		if err != nil {
			return err
		}
		if err := f.ended(ctx, g, unit); err != nil {
			return err
		}
		counted.add(casePlug, plugService, sample{Wall: time.Duration(at*1000 - now.Nano())})
	}
	return nil
}

func (f *guestField) ended(ctx context.Context, g guest.Guest, unit string) error {
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return guest.Poll(wait, func() error {
		out, err := g.Ask(ctx, "systemctl", "show", "--property=ActiveState", "--value", unit)
		if state := strings.TrimSpace(out); err == nil && state != "inactive" {
			return fmt.Errorf("%s is %s", unit, state)
		}
		return err
	})
}

// bare restores and starts by hand; liblxc's configuration is made beforehand,
// from that of a guest of felhom-agentd. The files are written to the disk before
// the start, as felhom-agentd does; the time of that is counted by itself.
func (f *guestField) bare(ctx context.Context, vmid int, counted samples) (err error) {
	number := strconv.Itoa(vmid)
	if err := f.driver.Restore(ctx, vmid, driver.Spec{Archive: f.archive, Net: driver.Net{Bridge: f.bed.Bridge, IP: pctconf.Fixed(f.address(vmid))}}, nil); err != nil {
		return err
	}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, f.driver.Shutdown(ctx, vmid, 0), f.driver.Destroy(ctx, vmid))
	}()
	dir := filepath.Join(f.bed.LXCPath(), number)
	rootfs := filepath.Join(dir, "rootfs")
	if err := errors.Join(os.RemoveAll(rootfs), os.Mkdir(rootfs, 0o755), os.Chown(rootfs, 100000, 100000)); err != nil {
		return err
	}
	var took [3]time.Duration
	for i, script := range []string{bareUnpack, bareSync, bareStart} {
		argv := testbed.WithSubIDs("sh", "-c", script, "sh", f.archive, dir)
		start := time.Now()
		if _, err := run.Run(ctx, run.Cmd{Path: argv[0], Args: argv[1:]}); err != nil {
			return err
		}
		took[i] = time.Since(start)
	}
	counted.add(caseProvision, bareRestore, sample{Wall: took[0] + took[2]})
	counted.add(caseProvision, syncedRestore, sample{Wall: took[0] + took[1] + took[2]})
	return nil
}

func (f *guestField) agentd(ctx context.Context, args ...string) error {
	argv := f.host.Command(args...)
	_, err := run.Run(ctx, run.Cmd{Path: argv[0], Args: argv[1:]})
	return err
}

// address is the bed's network with a last byte of the guest's own.
func (f *guestField) address(vmid int) netip.Prefix {
	a := netip.MustParseAddr(f.bed.Address).As4()
	a[3] = byte(vmid%100 + 150)
	return netip.PrefixFrom(netip.AddrFrom4(a), 24)
}

func (f *guestField) print(w io.Writer, o options) error {
	p := &printer{w: w}
	p.line("%s/%s, %d processors, %s; %d rounds, %d plugs in each, medians (lowest to highest).\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), o.builds, plugs)
	p.line("| | time |\n|---|---|")
	for _, row := range [][2]string{
		{caseProvision, bareRestore},
		{caseProvision, syncedRestore},
		{caseProvision, felhomProvision},
		{caseBoot, bootStep},
		{caseBoot, bootReady},
		{caseBoot, runReady},
		{caseDocker, dockerStatic},
		{caseDocker, dockerDHCP},
		{casePlug, plugService},
	} {
		p.line("| %s: %s | %s |", row[0], row[1], spread(f.samples[row[0]][row[1]], wall))
	}
	provision := f.samples[caseProvision]
	own, bare, synced := provision[felhomProvision], provision[bareRestore], provision[syncedRestore]
	plugged := f.samples[casePlug][plugService]
	static, dhcp := f.samples[caseDocker][dockerStatic], f.samples[caseDocker][dockerDHCP]
	return p.targets([]target{
		{"provision, to tar and lxc-start", 1.15, "x", ratio(median(own, wall), median(bare, wall)), ratio(lowest(own, wall), lowest(bare, wall))},
		{"provision, to tar, sync and lxc-start", 1.15, "x", ratio(median(own, wall), median(synced, wall)), ratio(lowest(own, wall), lowest(synced, wall))},
		{"docker active, DHCP later than a fixed address", 300, "ms", ms(median(dhcp, wall) - median(static, wall)), ms(lowest(dhcp, wall) - lowest(static, wall))},
		{"hotplug to service start, 95th percentile", 50, "ms", ms(percentile(plugged, 95)), ms(lowest(plugged, wall))},
	})
}

// percentile returns the value that so many of a hundred do not exceed.
func percentile(all []sample, of int) time.Duration {
	sorted := make([]time.Duration, len(all))
	for i, s := range all {
		sorted[i] = s.Wall
	}
	slices.Sort(sorted)
	return sorted[max(0, (len(sorted)*of+99)/100-1)]
}
