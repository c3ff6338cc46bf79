package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/rollout"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/powercut"
	"github.com/felhom/felhom-golden/internal/soak"
)

// cutHost is a host whose state, journals, logs, keys and mounts are below disk. Its
// guests are in memory.
type cutHost struct {
	*bed
	disk string
	hv   *drivertest.FakeHypervisor
}

func newCutHost(t *testing.T, disk string) *cutHost {
	t.Helper()
	b := newBed(t)
	data, err := os.ReadFile(b.config)
	must(t, err)
	text := string(data)
	for _, name := range []string{"state", "mounts"} {
		text = strings.ReplaceAll(text, filepath.Join(b.dir, name)+"\n", filepath.Join(disk, name)+"\n")
	}
	must(t, os.WriteFile(b.config, []byte(text), 0o600))
	h := &cutHost{bed: b, disk: disk, hv: drivertest.NewFakeHypervisor("vmbr0")}
	h.hv.AddArchive("/srv/golden.tar.zst", drivertest.FakeArchive{Config: []byte("arch: amd64\nhostname: golden\nnet0: name=eth0,bridge=vmbr0,ip=dhcp\nostype: debian\nunprivileged: 1\n")})
	return h
}

// noting is a hypervisor that calls note after each change.
type noting struct {
	*drivertest.FakeHypervisor
	note func()
}

func (n noting) Restore(ctx context.Context, vmid int, s driver.Spec, p driver.Progress) error {
	defer n.note()
	return n.FakeHypervisor.Restore(ctx, vmid, s, p)
}

func (n noting) Attach(ctx context.Context, vmid int, m driver.Mount) error {
	defer n.note()
	return n.FakeHypervisor.Attach(ctx, vmid, m)
}

func (n noting) Destroy(ctx context.Context, vmid int) error {
	defer n.note()
	return n.FakeHypervisor.Destroy(ctx, vmid)
}

// guestsAt are the guests from one operation of the disk on.
type guestsAt struct {
	from   int
	guests []driver.Guest
}

// work calls do with what the commands use. note may be nil.
func (h *cutHost) work(ctx context.Context, note func(), do func(*provision.Provisioner, config.Config) error) (err error) {
	cfg, err := loadConfig(h.config)
	if err != nil {
		return err
	}
	host, err := openHost(ctx, cfg, time.Now)
	if err != nil {
		return err
	}
	o, done, err := provisionOptions(cfg, silent{})
	if err != nil {
		return err
	}
	host.announce(cfg, &o)
	o.Hypervisor, o.HasHypervisor = h.hv, true
	if note != nil {
		o.Hypervisor = noting{h.hv, note}
	}
	return errors.Join(do(provision.New(o), cfg), done())
}

// change is a command that the power may fail in, and which is given again then.
type change struct {
	name string
	make func(ctx context.Context, h *cutHost, note func()) error
	// What is so after it.
	images map[string]string // of the guests that there are
}

func makeGuest(vmid int) func(context.Context, *cutHost, func()) error {
	return func(ctx context.Context, h *cutHost, note func()) error {
		return h.work(ctx, note, func(p *provision.Provisioner, _ config.Config) error {
			_, err := p.Provision(ctx, provision.Job{VMID: vmid, Asked: provision.Asked{Secrets: map[string]string{"PASSWORD": "x"}}, Spec: driver.Spec{Archive: "/srv/golden.tar.zst", Net: driver.Net{Bridge: "vmbr0"}}})
			return err
		})
	}
}

func byCommand(args ...string) func(context.Context, *cutHost, func()) error {
	return func(ctx context.Context, h *cutHost, _ func()) error {
		var stderr strings.Builder
		if code := run(ctx, append([]string{program, "--config", h.config}, args...), io.Discard, &stderr); code != 0 {
			return fmt.Errorf("%v: exit code %d: %s", args, code, stderr.String())
		}
		return nil
	}
}

func rollOut(image string, vmids ...int) func(context.Context, *cutHost, func()) error {
	return func(ctx context.Context, h *cutHost, note func()) error {
		return h.work(ctx, note, func(p *provision.Provisioner, cfg config.Config) error {
			r := rollout.New(rollout.Options{StateDir: cfg.StateDir, Provisioner: p, Now: time.Now})
			_, err := r.Begin(ctx, rollout.Plan{Image: image, Guests: vmids, Wave: 1, Wait: time.Minute})
			if fault.Of(err) == fault.Exists { // its hint says so
				_, err = r.Resume(ctx)
			}
			return err
		})
	}
}

// report is a daemon that gets a report of the guest and ends, so that there is a file of its reports.
func report(vmid int) func(context.Context, *cutHost, func()) error {
	return func(ctx context.Context, h *cutHost, _ func()) error {
		return h.work(ctx, nil, func(_ *provision.Provisioner, cfg config.Config) error {
			store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
			if err != nil {
				return err
			}
			_, err = store.AddReport(ctx, vmid, contract.Report{Run: "a", Sequence: 1, Time: time.Unix(1e9, 0).UTC(), Step: contract.StepMount, State: contract.StateDone})
			return errors.Join(err, store.Close())
		})
	}
}

func removeGuest(vmid int) func(context.Context, *cutHost, func()) error {
	return func(ctx context.Context, h *cutHost, note func()) error {
		return h.work(ctx, note, func(p *provision.Provisioner, _ config.Config) error {
			_, err := p.Remove(ctx, vmid, true)
			if errors.Is(err, provision.ErrKnownNothing) { // it was removed
				return nil
			}
			return err
		})
	}
}

const (
	firstImage  = "registry.example/felhom/controller:v1" // of the configuration
	secondImage = "registry.example/felhom/controller:v2"
)

func cutChanges() []change {
	return []change{
		{"provision 8200", makeGuest(8200), map[string]string{"8200": firstImage}},
		{"provision 8201", makeGuest(8201), map[string]string{"8200": firstImage, "8201": firstImage}},
		{"guest rotate 8200", byCommand("guest", "rotate", "8200"), map[string]string{"8200": firstImage, "8201": firstImage}},
		{"guest rollout", rollOut(secondImage, 8200, 8201), map[string]string{"8200": secondImage, "8201": secondImage}},
		{"pin rotate", byCommand("pin", "rotate"), map[string]string{"8200": secondImage, "8201": secondImage}},
		{"report of 8201", report(8201), map[string]string{"8200": secondImage, "8201": secondImage}},
		{"guest remove 8201", removeGuest(8201), map[string]string{"8200": secondImage}},
		{"report of 8200", report(8200), map[string]string{"8200": secondImage}},
	}
}

// The power is cut after each operation of a sequence of commands, in each of the ways in which
// a file system may lose what was not synced. The next start works, no guest has a
// token that the host does not take, and the command that was cut is given again and does its work.
func TestPowerCut(t *testing.T) {
	random, _ := soak.Start(t, 1)
	c := powercut.NewDisk(t)
	h := newCutHost(t, c.Mount(t))
	var known []guestsAt
	note := func() {
		at := guestsAt{from: c.Length()}
		for _, vmid := range h.hv.VMIDs() {
			g, err := h.hv.Guest(t.Context(), vmid)
			must(t, err)
			at.guests = append(at.guests, g)
		}
		known = append(known, at)
	}
	changes := cutChanges()
	ends := make([]int, len(changes))
	for i, change := range changes {
		if err := change.make(t.Context(), h, note); err != nil {
			t.Fatalf("%s: %v", change.name, err)
		}
		ends[i] = c.Length()
	}
	log, cuts := c.Changes(), 0
	for k, n := 0, 0; n <= len(log); n++ {
		for n >= ends[k] && k < len(changes)-1 {
			k++
		}
		for _, end := range powercut.Ends() {
			isAcknowledged := k > 0 && n == ends[k-1]                     // the change before this one
			if !soak.IsLong() && !isAcknowledged && random.IntN(36) > 0 { // a part of them
				continue
			}
			cuts++
			cut := &powerCut{name: fmt.Sprintf("%s, cut after %d of %d operations (%s), %s", changes[k].name, n, len(log), powercut.LastOf(log[:n]), end), changes: changes, k: k}
			disk := t.TempDir()
			powercut.After(log[:n], end).Write(t, disk)
			cut.host = newCutHost(t, disk)
			for _, at := range known {
				if at.from <= n {
					cut.guests = at.guests
				}
			}
			cut.check(t, h.disk)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d operations, %d cuts", len(log), cuts)
	if len(log) < 200 {
		t.Errorf("%d operations, want 200 or more: they were not noted", len(log))
	}
}

// powerCut is a host after a loss of power.
type powerCut struct {
	name    string
	changes []change
	k       int // of the change in which it was; those before were acknowledged
	host    *cutHost
	guests  []driver.Guest
}

func (p *powerCut) check(t *testing.T, original string) {
	t.Helper()
	h := p.host
	for _, g := range p.guests {
		for i := range g.Mounts {
			g.Mounts[i].Source = strings.Replace(g.Mounts[i].Source, original, h.disk, 1)
		}
		h.hv.Put(g)
	}
	must(t, os.MkdirAll(filepath.Join(h.disk, "mounts"), 0o755))
	p.assertGone(t)
	if err := p.start(t); err != nil {
		t.Errorf("%s: the next start: %v", p.name, err)
		return
	}
	if p.k > 0 {
		for vmid := range p.changes[p.k-1].images {
			if _, isKept := p.changes[p.k].images[vmid]; isKept {
				p.assertGuest(t, "after the start", vmid, "")
			}
		}
	}
	again := p.changes[p.k]
	if err := again.make(t.Context(), h, nil); err != nil {
		t.Errorf("%s: given again: %v", p.name, err)
		return
	}
	for vmid, image := range again.images {
		p.assertGuest(t, "given again", vmid, image)
	}
	if err := p.start(t); err != nil { // which sweeps
		t.Errorf("%s: the start after it was given again: %v", p.name, err)
	}
	for _, dir := range []string{"state", "mounts"} {
		for _, name := range soak.Left(t, filepath.Join(h.disk, dir)) {
			if !strings.HasSuffix(name, ".lock") { // one that came back is held by no process
				t.Errorf("%s: %s is left over", p.name, name)
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(h.disk, "state/*/82*.json")); err == nil {
		for _, name := range left {
			if filepath.Base(filepath.Dir(name)) == "provision" {
				t.Errorf("%s: the journal %s is left over", p.name, name)
			}
		}
	}
	for _, name := range []string{"rollout.json", "tls/rotation.json"} {
		if _, err := os.Lstat(filepath.Join(h.disk, "state", name)); !os.IsNotExist(err) {
			t.Errorf("%s: %s is left over: %v", p.name, name, err)
		}
	}
}

// assertGone checks that no file of a guest is there whose removal was acknowledged.
func (p *powerCut) assertGone(t *testing.T) {
	t.Helper()
	if p.k < 2 {
		return
	}
	for _, removed := range p.changes[:p.k] {
		for vmid := range removed.images {
			if _, isKept := p.changes[p.k-1].images[vmid]; isKept {
				continue
			}
			for _, pattern := range []string{"mounts/%s", "state/guests/%s*", "state/reports/%s*", "state/provision/%s.json"} {
				left, err := filepath.Glob(filepath.Join(p.host.disk, fmt.Sprintf(pattern, vmid)))
				must(t, err)
				if len(left) > 0 {
					t.Errorf("%s: guest %s was removed, and %v is back", p.name, vmid, left)
				}
			}
		}
	}
}

// start does what the daemon does at its start, lists the guests and reads the audit log.
func (p *powerCut) start(t *testing.T) (err error) {
	t.Helper()
	cfg, err := loadConfig(p.host.config)
	must(t, err)
	if _, err := openHost(t.Context(), cfg, time.Now); err != nil {
		return err
	}
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	err = errors.Join(store.Sweep(t.Context()), provision.Sweep(t.Context(), cfg.StateDir, mountsOf(cfg)), store.Recover())
	if _, broken, listErr := store.List(); listErr != nil || len(broken) > 0 {
		err = errors.Join(err, listErr, fmt.Errorf("broken records: %v", broken))
	}
	trail, trailErr := openTrail(cfg, newLogger(io.Discard, logOptions{}), newCounts(cfg, host{}, store))
	if trailErr == nil {
		trailErr = trail.close()
	}
	return errors.Join(err, trailErr, auditState(t.Context(), auditDir(cfg)))
}

// assertGuest checks that the guest's mount has a token that the host takes, the pins
// of the host's keys, and the image; "" is any image.
func (p *powerCut) assertGuest(t *testing.T, when, vmid, image string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.host.disk, "mounts", vmid, "bootstrap.json"))
	if err != nil {
		t.Errorf("%s: %s: %v", p.name, when, err)
		return
	}
	boot, findings := contract.Parse(data)
	if err := findings.Err(); err != nil {
		t.Errorf("%s: %s: bootstrap.json of guest %s: %v", p.name, when, vmid, err)
		return
	}
	tok, err := token.Parse(boot.LocalAPIToken.Reveal())
	must(t, err)
	cfg, err := loadConfig(p.host.config)
	must(t, err)
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	must(t, err)
	defer func() { must(t, store.Close()) }()
	if _, err := store.Authenticate(tok); err != nil {
		t.Errorf("%s: %s: the token in the mount of guest %s: %v", p.name, when, vmid, err)
	}
	number, err := strconv.Atoi(vmid)
	must(t, err)
	if record, err := store.Get(number); image != "" && (err != nil || boot.ControllerImage.String() != image || record.ControllerImage != "" && record.ControllerImage != image) {
		t.Errorf("%s: %s: guest %s has the image %s, its record %s, %v, want %s", p.name, when, vmid, boot.ControllerImage, record.ControllerImage, err, image)
	}
	host, err := openHost(t.Context(), cfg, time.Now)
	must(t, err)
	if !slices.Contains(boot.LocalAPIPins, host.pins()[0]) {
		t.Errorf("%s: %s: guest %s does not accept the host's key", p.name, when, vmid)
	}
}
