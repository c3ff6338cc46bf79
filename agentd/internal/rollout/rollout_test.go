package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/guests/gueststest"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/rollout"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pin"
)

const (
	archive  = "/golden.tar"
	oldImage = "registry.example/app:1"
	newImage = "registry.example/app:2"
)

// host is a host with guests that do what they are told: when they are waited
// for, they look at their mounts, and report.
type host struct {
	*provision.Provisioner
	t       *testing.T
	dir     string
	hv      *drivertest.FakeHypervisor
	store   *guests.Store
	runs    map[int][]string // images that each guest ran, in their order
	unfit   map[int]bool     // guests whose new controller does not become ready
	silent  map[int]bool     // guests that report nothing
	waves   []rollout.Status
	points  int // passed, at which a kill is simulated
	killAt  int // 0: never
	changes []int
}

func newHost(t *testing.T, vmids ...int) *host {
	t.Helper()
	store, dir := gueststest.Open(t)
	h := &host{t: t, dir: dir, hv: drivertest.NewFakeHypervisor("vmbr0"), store: store, runs: map[int][]string{}, unfit: map[int]bool{}, silent: map[int]bool{}}
	h.hv.AddArchive(archive, drivertest.FakeArchive{Config: []byte("arch: amd64\nhostname: golden\nunprivileged: 1\nnet0: name=eth0,bridge=vmbr0,ip=dhcp,type=veth\nrootfs: local:vm-1-disk-0,size=8G\n")})
	spki, err := pin.ParseSPKI("uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
	no(t, err)
	cfg := config.Config{HostID: "demo", ControllerImage: oldImage, Profile: contract.ProfilePlain}
	h.Provisioner = provision.New(provision.Options{
		Hypervisor: h.hv, Store: store, Mounts: configmount.New(filepath.Join(dir, "mounts"), configmount.OwnerHost), StateDir: dir, Overlap: time.Hour,
		Bootstrap: provision.BootstrapFrom(cfg, provision.Host{Endpoint: "https://192.0.2.1:8443", Pins: pin.Set{spki}}),
		Observer:  observer{h}, Now: time.Now, Poll: 10 * time.Millisecond, Root: driver.IDs{UID: 100000, GID: 100000},
	})
	for _, vmid := range vmids {
		_, err := h.Provisioner.Provision(t.Context(), provision.Job{VMID: vmid, Spec: driver.Spec{Archive: archive}, Start: true})
		no(t, err)
		h.bootstrap(vmid)
	}
	h.points = 0
	return h
}

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bootstrap is what the guest does: it runs the image of its mount, if it is
// another than it ran last, and reports.
func (h *host) bootstrap(vmid int) {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, "mounts", fmt.Sprint(vmid), configmount.BootstrapFile))
	no(h.t, err)
	boot, findings := contract.Parse(data)
	no(h.t, findings.Err())
	image, ran := boot.ControllerImage.String(), h.runs[vmid]
	isSame := len(ran) > 0 && ran[len(ran)-1] == image
	if g, err := h.hv.Guest(h.t.Context(), vmid); err != nil || g.State != driver.Running || h.silent[vmid] || isSame && !h.unfit[vmid] {
		return
	}
	h.runs[vmid] = append(ran, image)
	report := contract.Report{Run: fmt.Sprintf("r%d", len(h.runs[vmid])), Sequence: 1, Step: contract.StepRun, State: contract.StateDone}
	if h.unfit[vmid] {
		report.State, report.Class, report.Message, report.Hint = contract.StateFailed, "refused", "rolled back: not ready", "look at its log"
	}
	_, err = h.store.AddReport(h.t.Context(), vmid, report)
	no(h.t, err)
}

// point is a place at which the process can be killed.
func (h *host) point() {
	if h.points++; h.points == h.killAt {
		runtime.Goexit()
	}
}

func (h *host) Check(ctx context.Context, job provision.Job) (provision.Outcome, error) {
	h.point()
	return h.Provisioner.Check(ctx, job)
}

func (h *host) Provision(ctx context.Context, job provision.Job) (provision.Result, error) {
	h.point()
	h.changes = append(h.changes, job.VMID)
	r, err := h.Provisioner.Provision(ctx, job)
	h.point()
	return r, err
}

func (h *host) Wait(ctx context.Context, vmid int, r provision.Result, limit time.Duration) error {
	h.point()
	if ran := h.runs[vmid]; r.Last != nil && ran[len(ran)-1] != newImage {
		h.t.Errorf("guest %d is taken for up by a report of %s", vmid, ran[len(ran)-1])
	}
	h.bootstrap(vmid)
	h.point()
	return h.Provisioner.Wait(ctx, vmid, r, limit)
}

// observer kills after each step.
type observer struct{ h *host }

func (observer) Started(int, provision.Step)                       {}
func (observer) Bytes(int, provision.Step, int64, int64)           {}
func (observer) Note(int, provision.Step, string)                  {}
func (o observer) Ended(int, provision.Step, provision.StepResult) { o.h.point() }

func (h *host) rollout() *rollout.Rollout {
	return rollout.New(rollout.Options{StateDir: h.dir, Provisioner: h, Now: time.Now, WaveEnded: func(s rollout.Status) {
		h.waves = append(h.waves, s)
		h.point()
	}})
}

func plan(wave, failures int, vmids ...int) rollout.Plan {
	return rollout.Plan{Image: newImage, Guests: vmids, Wave: wave, MaxFailures: failures, Wait: time.Minute}
}

// states returns the states of the guests, by words.
func states(s rollout.Status) string {
	var words []string
	for _, g := range s.Guests {
		words = append(words, string(g.State))
	}
	return string(s.State) + ": " + strings.Join(words, " ")
}

func (h *host) wantNoJournal() {
	h.t.Helper()
	for _, pattern := range []string{"rollout.json", "rollout.lock", ".rollout.json.*"} {
		if files, err := filepath.Glob(filepath.Join(h.dir, pattern)); err != nil || len(files) > 0 {
			h.t.Errorf("left: %v, %v", files, err)
		}
	}
}

func TestWaves(t *testing.T) {
	h := newHost(t, 101, 102, 103, 104, 105)
	got, err := h.rollout().Begin(t.Context(), plan(2, 0, 101, 102, 103, 104, 105))
	no(t, err)
	if s := states(got); s != "done: healthy healthy healthy healthy healthy" || got.Healthy != 5 {
		t.Errorf("%s, %+v", s, got)
	}
	var left []int
	for _, w := range h.waves {
		left = append(left, w.Left)
	}
	if d := cmp.Diff([]int{3, 1, 0}, left); d != "" {
		t.Errorf("guests left after each wave (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]int{101, 102, 103, 104, 105}, h.changes); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
	h.wantNoJournal()
	// Again: nothing is to be done.
	got, err = h.rollout().Begin(t.Context(), plan(5, 0, 101, 102))
	no(t, err)
	if got.Guests[0].Outcome != string(provision.Unchanged) || got.Healthy != 2 || len(h.runs[101]) != 2 {
		t.Errorf("again: %+v, runs %v", got, h.runs[101])
	}
}

// A wave with a failure is the last; what was not reached stays as it was, and
// resume tries the failed guest again.
func TestStopsOnFailures(t *testing.T) {
	h := newHost(t, 101, 102, 103, 104)
	h.unfit[102] = true
	got, err := h.rollout().Begin(t.Context(), plan(2, 0, 101, 102, 103, 104))
	if s := states(got); s != "stopped: healthy failed pending pending" {
		t.Errorf("%s", s)
	}
	for _, want := range []string{"guest 102: its bootstrap failed for good (refused): rolled back: not ready", "hint: look at its log", "rollout of " + newImage + ": 1 failed, 2 not reached"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if !strings.Contains(fault.HintOf(err), "--resume") {
		t.Errorf("hint %q", fault.HintOf(err))
	}
	if g := got.Guests[1]; g.Hint != "look at its log; its console is in /fake/102/console.log" || !strings.Contains(g.Message, "rolled back") {
		t.Errorf("failed guest %+v", g)
	}
	if d := cmp.Diff([]int{101, 102}, h.changes); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
	if _, err := h.rollout().Begin(t.Context(), plan(1, 0, 103)); fault.Of(err) != fault.Exists || !strings.Contains(fault.HintOf(err), "--resume") {
		t.Errorf("another rollout: %v", err)
	}
	h.unfit[102], h.changes = false, nil
	h.runs[102] = append(h.runs[102], oldImage) // the guest rolled back
	got, err = h.rollout().Resume(t.Context())
	no(t, err)
	if s := states(got); s != "done: healthy healthy healthy healthy" {
		t.Errorf("resumed: %s", s)
	}
	if d := cmp.Diff([]int{102, 103, 104}, h.changes); d != "" {
		t.Errorf("changes of resume (-want +got):\n%s", d)
	}
	h.wantNoJournal()
	if _, err := h.rollout().Resume(t.Context()); fault.Of(err) != fault.NotFound {
		t.Errorf("resume of nothing: %v", err)
	}
}

// Some failures do not end it, and are its error at the end. Guests that do not
// exist, report nothing, or are stopped.
func TestToleratedFailures(t *testing.T) {
	h := newHost(t, 101, 102, 103)
	h.silent[102] = true
	no(t, h.hv.Shutdown(t.Context(), 103, 0))
	p := plan(1, 2, 101, 102, 103, 104)
	p.Wait = 500 * time.Millisecond
	got, err := h.rollout().Begin(t.Context(), p)
	if s := states(got); s != "done: healthy failed written failed" {
		t.Errorf("%s: %v", s, err)
	}
	for _, want := range []string{"guest 102: nothing was reported within", "guest 104: there is no such guest to change", "2 failed, 0 not reached"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	h.wantNoJournal()
}

// Killed at any point, resume ends it: every guest runs the new image, each was
// given it once, and nothing is left.
func TestKilled(t *testing.T) {
	for at := 1; ; at++ {
		h := newHost(t, 101, 102, 103)
		h.killAt = at
		done, isKilled := make(chan struct{}), true
		go func() {
			defer close(done)
			_, err := h.rollout().Begin(t.Context(), plan(2, 0, 101, 102, 103))
			isKilled = false
			if err != nil {
				t.Errorf("point %d: %v", at, err)
			}
		}()
		<-done
		if !isKilled {
			if at < 20 {
				t.Errorf("killed at %d points, want more", at-1)
			}
			return
		}
		got, err := h.rollout().Resume(t.Context())
		if fault.Of(err) == fault.NotFound { // before its first or after its last write
			got, err = h.rollout().Begin(t.Context(), plan(2, 0, 101, 102, 103))
		}
		if err != nil || states(got) != "done: healthy healthy healthy" {
			t.Errorf("point %d: %s, %v", at, states(got), err)
		}
		for vmid, ran := range h.runs {
			if d := cmp.Diff([]string{oldImage, newImage}, ran); d != "" {
				t.Errorf("point %d: guest %d ran (-want +got):\n%s", at, vmid, d)
			}
		}
		h.wantNoJournal()
		if t.Failed() {
			return
		}
	}
}

// An interrupt leaves the journal, and two rollouts are not at work at once.
func TestInterrupted(t *testing.T) {
	h := newHost(t, 101, 102)
	h.silent[101] = true
	ctx, cancel := context.WithCancelCause(t.Context())
	r := rollout.New(rollout.Options{StateDir: h.dir, Provisioner: h, Now: time.Now})
	errs := make(chan error, 1)
	go func() {
		_, err := r.Begin(ctx, plan(1, 0, 101, 102))
		errs <- err
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s, err := h.rollout().Status(); s == nil; s, err = h.rollout().Status() {
		no(t, err)
		<-tick.C
	}
	if _, err := h.rollout().Resume(t.Context()); fault.Of(err) != fault.Busy {
		t.Errorf("a second one: %v, want that it is busy", err)
	}
	cancel(errors.New("enough"))
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("error %v, want the cause", err)
	}
	status, err := h.rollout().Abandon(t.Context())
	no(t, err)
	if s := states(status); s != "abandoned: started pending" {
		t.Errorf("%s", s)
	}
	h.wantNoJournal()
}

func TestOddJournal(t *testing.T) {
	h := newHost(t)
	for _, text := range []string{"", "{}", "[", `{"version": 2, "plan": {"image": "a"}, "guests": [{"guest": 1}]}`} {
		no(t, os.WriteFile(filepath.Join(h.dir, "rollout.json"), []byte(text), 0o600))
		if _, err := h.rollout().Resume(t.Context()); fault.Of(err) != fault.Invalid || !strings.Contains(fault.HintOf(err), "remove that file") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Only a lock that another process holds is another rollout.
func TestLockThatCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rollout.lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := rollout.New(rollout.Options{StateDir: dir}).Abandon(t.Context())
	if err == nil || fault.Of(err) == fault.Busy || strings.Contains(fault.HintOf(err), "another rollout") || !strings.Contains(err.Error(), "rollout.lock") {
		t.Errorf("error %v (%v), hint %q; want the cause, and not that another rollout is at work", err, fault.Of(err), fault.HintOf(err))
	}
}
