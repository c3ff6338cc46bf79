package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/contract"
)

// crowdReports is how many reports a guest of a crowd sends.
const crowdReports = 14

func crowdReport(t testing.TB, run string, sequence int) []byte {
	t.Helper()
	state := contract.StateStarted
	if sequence%2 == 0 {
		state = contract.StateDone
	}
	body, err := json.Marshal(contract.Report{
		Run: run, Sequence: uint64(sequence), Time: time.Unix(1e9, 0).UTC(), Step: contract.Steps()[(sequence-1)/2], State: state,
		Message: "pulled registry.example/felhom/controller:v1", Version: "v0.1.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// report has all guests boot within the window, each for a fifth of it, in which
// it sends its reports at random times in their order. It returns how long each
// took until it was acknowledged, with all tries.
func (c *crowd) report(t testing.TB, run string, window time.Duration) []time.Duration {
	t.Helper()
	took := make([]time.Duration, len(c.tokens)*crowdReports)
	var sending sync.WaitGroup
	begin := time.Now()
	for i := range c.tokens {
		sending.Go(func() {
			at := make([]time.Duration, crowdReports)
			boot := rand.N(window * 4 / 5)
			for n := range at {
				at[n] = boot + rand.N(window/5)
			}
			slices.Sort(at)
			for n := range at {
				<-time.After(time.Until(begin.Add(at[n])))
				body, started := crowdReport(t, run, n+1), time.Now()
				c.askUntil(t, i, http.MethodPost, contract.PathReports, body, http.StatusNoContent, http.StatusServiceUnavailable, http.StatusTooManyRequests)
				took[i*crowdReports+n] = time.Since(started)
			}
		})
	}
	sending.Wait()
	slices.Sort(took)
	return took
}

// lost returns how many of the acknowledged reports are not there.
func (c *crowd) lost(t testing.TB, run string) int {
	t.Helper()
	store := c.b.store(t)
	lost := 0
	for i := range c.tokens {
		p, err := store.Progress(8200 + i)
		if err != nil || p.Run != run || p.Sequence != crowdReports {
			t.Errorf("guest %d: %q up to %d, %v, want %q up to %d", 8200+i, p.Run, p.Sequence, err, run, crowdReports)
		}
		lost += crowdReports/2 - len(p.Steps)
		for _, s := range p.Steps {
			if s.Report.State != contract.StateDone {
				lost++
			}
		}
	}
	return lost
}

func TestReportsOfACrowd(t *testing.T) {
	b := newBed(t)
	c := b.crowd(t, 100)
	p := b.startProcess(t)
	took := c.report(t, "first", time.Second)
	if lost := c.lost(t, "first"); lost > 0 {
		t.Errorf("%d of %d reports are lost", lost, len(took))
	}
	p.end(t, os.Interrupt)
	if lost := c.lost(t, "first"); lost > 0 {
		t.Errorf("after the daemon's end %d of %d reports are lost", lost, len(took))
	}
}

// Reports that were acknowledged are there after the daemon was killed, wherever
// that was, and again after it has started.
func TestKilledDaemonKeepsReports(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	c := b.crowd(t, 20)
	for i := range 3 {
		p := b.startProcess(t)
		run := "run" + strconv.Itoa(i)
		kill := time.AfterFunc(rand.N(time.Second), func() { p.end(t, os.Kill) })
		acknowledged := make([]int, len(c.tokens))
		var sending sync.WaitGroup
		for g := range c.tokens {
			sending.Go(func() {
				for n := 1; n <= crowdReports; n++ {
					status, _, err := c.ask(t.Context(), g, http.MethodPost, contract.PathReports, crowdReport(t, run, n))
					if err != nil || status != http.StatusNoContent {
						return
					}
					acknowledged[g] = n
				}
			})
		}
		sending.Wait()
		kill.Stop()
		p.end(t, os.Kill)
		check := func(when string) {
			store := b.store(t)
			for g, n := range acknowledged {
				if n == 0 {
					continue
				}
				if progress, err := store.Progress(8200 + g); err != nil || progress.Run != run || progress.Sequence < uint64(n) {
					t.Errorf("%s: guest %d has %s up to %d, %v, want %s up to %d", when, 8200+g, progress.Run, progress.Sequence, err, run, n)
				}
			}
		}
		check("after a kill")
		next := b.startProcess(t)
		check("after the next start")
		next.end(t, os.Interrupt)
	}
}

// BenchmarkReports has 1,000 guests that start within ten seconds, each with 14
// reports, on the daemon's real listener.
func BenchmarkReports(b *testing.B) {
	bed := newBed(b)
	c := bed.crowd(b, 1000)
	p := bed.startProcess(b)
	for i := 0; b.Loop(); i++ {
		run := "run" + strconv.Itoa(i)
		took := c.report(b, run, 10*time.Second)
		p.assertAlive(b, bed.logs)
		milliseconds := func(percent int) float64 { return took[len(took)*percent/100].Seconds() * 1000 }
		b.ReportMetric(milliseconds(50), "p50-ms")
		b.ReportMetric(milliseconds(99), "p99-ms")
		b.ReportMetric(float64(c.lost(b, run)), "lost")
	}
}

// pidsGroup makes a control group in which max tasks can be, and returns its
// directory.
func pidsGroup(t *testing.T, max int) string {
	t.Helper()
	parent := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(parent); err != nil {
		parent = "/sys/fs/cgroup"
		if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+pids"), 0); err != nil {
			t.Fatalf("no pids controller for cgroups: %v", err)
		}
	}
	dir, err := os.MkdirTemp(parent, "felhom-test-")
	if err != nil {
		t.Fatalf("make a cgroup: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(max)), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tasksMax is that of felhom-agentd.service.
const tasksMax = 128

// Each first use of a token waited in flock(2) on a thread of its own, and 130
// of them ended the daemon. So must no number of guests, whatever they ask for
// while another process has the store's lock.
func TestTheDaemonSurvivesACrowdBesideAHeldLock(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	c := b.crowd(t, 200)
	group := pidsGroup(t, tasksMax)
	lock, err := os.OpenFile(filepath.Join(b.dir, "state/guests.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	// The daemon starts although the lock is held.
	p := b.startProcess(t, "sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, group)
	var asking sync.WaitGroup
	var refused atomic.Int64
	begin := time.Now()
	for i := range c.tokens {
		for _, path := range []string{contract.PathStorage, fmt.Sprintf("/guests/%d/storage", 8200+i)} {
			asking.Go(func() {
				if c.isRefused(t, i, path, begin) {
					refused.Add(1)
				}
			})
		}
		asking.Go(func() { // what needs no lock is served beside it
			c.askUntil(t, i, http.MethodPost, contract.PathReports, crowdReport(t, "r", 1), http.StatusNoContent, http.StatusServiceUnavailable, http.StatusTooManyRequests)
		})
	}
	asking.Wait()
	p.assertAlive(t, b.logs)
	if refused.Load() == 0 {
		t.Error("no guest was told that the store is busy")
	}
	if now := readNumber(t, filepath.Join(group, "pids.current")); now > tasksMax/2 {
		t.Errorf("the daemon has %d tasks, want at most half of %d", now, tasksMax)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	for i := range c.tokens {
		c.askUntil(t, i, http.MethodGet, contract.PathStorage, nil, http.StatusOK, http.StatusServiceUnavailable)
	}
	p.assertAlive(t, b.logs)
	data, err := os.ReadFile(filepath.Join(group, "pids.events"))
	if err != nil || !slices.Contains(strings.Split(string(data), "\n"), "max 0") {
		t.Errorf("the limit of tasks was reached: %q, %v", data, err)
	}
	p.end(t, syscall.SIGTERM)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the daemon ended with %d:\n%.4000s", code, b.logs)
	}
}

// servedAfter is for how long the daemon refuses a guest because the store is busy. It
// serves the guest after that.
const servedAfter = 10 * time.Second

// isRefused asks until guest i is answered, and reports whether it was told that the store is
// busy. A machine that is slow with handshakes can have the guest ask once more so late that it
// is served: begin is before the first request.
func (c *crowd) isRefused(t *testing.T, i int, path string, begin time.Time) bool {
	t.Helper()
	for pause := 300 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		status, after, err := c.ask(t.Context(), i, http.MethodGet, path, nil)
		asked := time.Since(begin)
		switch {
		case err == nil && status == http.StatusServiceUnavailable:
			if after == "" {
				t.Errorf("guest %d, %s: 503 without Retry-After", 8200+i, path)
			}
			return true
		case err == nil && status == http.StatusOK && asked >= servedAfter:
			return false
		case err == nil || asked > 6*time.Minute:
			t.Errorf("guest %d, %s: %d, %v after %v, want 503", 8200+i, path, status, err, asked)
			return false
		}
		<-time.After(pause)
	}
}

func readNumber(t *testing.T, name string) int {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
