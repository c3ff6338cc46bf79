//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/soak"
)

const (
	runningGuests = 3
	runningWave   = 2
	badImage      = "registry.example/app:bad-" // what begins so is never ready
)

// controllers stand in for the bootstrappers of guests that run: each reads its mount, changes its controller, puts
// the one before back if the new one is not ready, and reports that to the daemon.
type controllers struct {
	mu       sync.Mutex
	running  map[string]string   // image that is ready, by VMID
	changed  map[string][]string // images that were started in its place
	changing map[string]bool     // those that have not reported since
	most     int                 // how many were changing at a time
}

// follow brings guest vmid to what its mount says, until ctx is done.
func (s *controllers) follow(ctx context.Context, t *testing.T, h *lxcHost, vmid string) {
	var last []byte
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for runs := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		data, err := os.ReadFile(h.path("mounts/" + vmid + "/bootstrap.json"))
		if err != nil || bytes.Equal(data, last) {
			continue
		}
		boot, findings := contract.Parse(data)
		if err := findings.Err(); err != nil {
			t.Errorf("guest %s: its bootstrap.json: %v", vmid, err)
			return
		}
		last, runs = data, runs+1
		report := s.change(ctx, vmid, boot.ControllerImage.String())
		report.Run = fmt.Sprint("run-", vmid, "-", runs)
		host := &localapi.Client{Endpoint: boot.LocalAPIEndpoint, Pins: boot.LocalAPIPins, Token: boot.LocalAPIToken}
		s.mu.Lock()
		delete(s.changing, vmid)
		s.mu.Unlock()
		for err := host.Report(ctx, report); err != nil && ctx.Err() == nil; err = host.Report(ctx, report) {
			if now, readErr := os.ReadFile(h.path("mounts/" + vmid + "/bootstrap.json")); readErr == nil && !bytes.Equal(now, data) {
				break // there is a newer token, whose run reports
			}
			<-look.C
		}
		host.Close()
	}
}

// change has the guest run the image, or what it ran before, and returns the report of it.
func (s *controllers) change(ctx context.Context, vmid, image string) contract.Report {
	s.mu.Lock()
	before := s.running[vmid]
	if before != image {
		s.changed[vmid] = append(s.changed[vmid], image)
		s.changing[vmid] = true
		s.most = max(s.most, len(s.changing))
	}
	s.mu.Unlock()
	report := contract.Report{Sequence: 1, Time: time.Now().UTC(), Step: contract.StepRun, State: contract.StateDone}
	if before == image {
		return report
	}
	select { // what a pull and a health test take
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
	if strings.HasPrefix(image, badImage) {
		report.State, report.Class, report.ExitCode = contract.StateFailed, fault.Invalid.Class(), 3
		report.Message = contract.StillRuns(before, "its health test says unhealthy")
		return report
	}
	s.mu.Lock()
	s.running[vmid] = image
	s.mu.Unlock()
	return report
}

// take returns which images each guest started since the last call, and how many guests changed at a time.
func (s *controllers) take() (changed map[string][]string, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, most = s.changed, s.most
	s.changed, s.most = map[string][]string{}, 0
	return changed, most
}

// TestKilledRolloutOfRunningGuestsAtRandom ends guest rollout by SIGKILL anywhere while guests run and report: --resume
// ends it. Each guest runs the new image, which it was given once, or the last one that was ready; never more
// guests than a wave has are changed at a time, and a rollout that stops reaches no further guest.
func TestKilledRolloutOfRunningGuestsAtRandom(t *testing.T) {
	random, rounds := soak.Start(t, 3)
	h := newLXCHost(t)
	defer h.serve(t)()
	s := &controllers{running: map[string]string{}, changed: map[string][]string{}, changing: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	var vmids []string
	for range runningGuests {
		vmid := h.newVMID(t)
		h.run(t, h.provision(vmid)...).works(t, ": provisioned")
		following.Go(func() { s.follow(ctx, t, h, vmid) })
		vmids = append(vmids, vmid)
	}
	slices.Sort(vmids)
	r := runningRollout{controllers: s, host: h, vmids: vmids, image: "registry.example/app:first"}
	started := time.Now()
	h.run(t, r.args()...).works(t, `"healthy": 3`)
	full := time.Since(started)
	_, _ = s.take()
	for i := range rounds {
		good := r.image
		r.image = fmt.Sprint("registry.example/app:", i)
		if i%2 == 1 {
			r.image = fmt.Sprint(badImage, i)
		}
		// Twice, so that --resume is killed as well.
		r.when = fmt.Sprintf("round %d, %s", i, soak.Kill(t, h.command(r.args()...), random, full))
		if _, err := os.Stat(h.path("state/rollout.json")); err == nil {
			r.when += ", --resume: " + soak.Kill(t, h.command("guest", "rollout", "--resume", "--json"), random, full)
		}
		if i%2 == 1 {
			r.assertStopped(t, good)
			r.image = good
		} else {
			r.assertDone(t)
		}
		for _, name := range []string{"rollout.json", "rollout.lock"} {
			if _, err := os.Lstat(h.path("state/" + name)); !os.IsNotExist(err) {
				t.Errorf("%s: %s is left over: %v", r.when, name, err)
			}
		}
		if left := temporaries(t, h.path("state"), h.path("mounts")); len(left) > 0 {
			t.Errorf("%s: left over: %v", r.when, left)
		}
		if t.Failed() {
			return
		}
	}
	for _, vmid := range vmids {
		h.remove(t, vmid)
	}
}

// runningRollout is a rollout that is killed.
type runningRollout struct {
	*controllers
	host        *lxcHost
	vmids       []string
	image, when string
}

func (r *runningRollout) args() []string {
	return []string{"guest", "rollout", "--image", r.image, "--all", "--wave", fmt.Sprint(runningWave), "--wait", "5m", "--json"}
}

// rolledOut is what the test reads of guest rollout --json.
type rolledOut struct {
	State  string
	Guests []struct{ State string }
}

// resume gives the command again, with --resume if there is something to continue. If there is not, the rollout
// was not started, or it has ended.
func (r *runningRollout) resume(t *testing.T) (rolled rolledOut, code int) {
	t.Helper()
	args := r.args()
	if _, err := os.Stat(r.host.path("state/rollout.json")); err == nil {
		args = []string{"guest", "rollout", "--resume", "--json"}
	}
	got := r.host.run(t, args...)
	if err := json.Unmarshal([]byte(got.stdout), &rolled); err != nil {
		t.Fatalf("%s: %v: exit code %d, %s\n%s", r.when, args, got.code, got.stdout, got.stderr)
	}
	return rolled, got.code
}

// assertDone resumes the rollout of an image that is ready, to its end.
func (r *runningRollout) assertDone(t *testing.T) {
	t.Helper()
	if rolled, code := r.resume(t); code != 0 || rolled.State != "done" {
		t.Fatalf("%s: exit code %d, %+v", r.when, code, rolled)
	}
	changed, most := r.take()
	if most > runningWave {
		t.Errorf("%s: %d guests changed at a time, want %d at most", r.when, most, runningWave)
	}
	for _, vmid := range r.vmids {
		r.host.assertValidToken(t, r.when, vmid)
		if got := changed[vmid]; !slices.Equal(got, []string{r.image}) {
			t.Errorf("%s: guest %s started %v, want %s once", r.when, vmid, got, r.image)
		}
		r.assertRuns(t, vmid, r.image)
	}
}

// assertStopped resumes the rollout of an image that is never ready, until it stops, and has the guests go back.
func (r *runningRollout) assertStopped(t *testing.T, good string) {
	t.Helper()
	rolled, code := r.resume(t)
	if code != 1 || rolled.State != "stopped" || rolled.Guests[runningWave].State != "pending" {
		t.Fatalf("%s: exit code %d, %+v", r.when, code, rolled)
	}
	changed, most := r.take()
	if most > runningWave || len(changed) > runningWave {
		t.Errorf("%s: %d guests changed at a time, and %v in all, want %d at most", r.when, most, changed, runningWave)
	}
	r.host.run(t, "guest", "rollout", "--abandon", "--json").works(t, `"left": 1`)
	for i, vmid := range r.vmids {
		r.host.assertValidToken(t, r.when, vmid)
		r.assertRuns(t, vmid, good)
		if i < runningWave {
			r.host.run(t, "guest", "set-image", vmid, good).works(t, "")
		}
	}
	_, _ = r.take()
}

func (r *runningRollout) assertRuns(t *testing.T, vmid, image string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[vmid] != image {
		t.Errorf("%s: guest %s runs %s, want %s", r.when, vmid, r.running[vmid], image)
	}
}
