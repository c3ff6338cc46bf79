package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/hostapi"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
)

// hostHelper makes TestStandInHost a host in a process of its own, which a test can stop.
const hostHelper = "FELHOM_TEST_HOST"

// TestStandInHost is not a test of its own: it is the process of stoppedHost.
func TestStandInHost(t *testing.T) {
	address := os.Getenv(hostHelper)
	if address == "" {
		t.SkipNow() // run by TestReportsArriveThoughTheHostWasStopped alone
	}
	h := startHost(t)
	_, _ = fmt.Fprintf(os.Stdout, "%s %s\n", h.endpoint, h.pin)
	seen := 0
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		h.mu.Lock()
		for ; seen < len(h.reports); seen++ {
			data, _ := json.Marshal(h.reports[seen])
			_, _ = fmt.Fprintf(os.Stdout, "%s\n", data)
		}
		h.mu.Unlock()
	}
}

// TestReportsArriveThoughTheHostWasStopped stops a host (SIGSTOP) for longer than a
// report is tried, as soon as it knows that the container is being made.
func TestReportsArriveThoughTheHostWasStopped(t *testing.T) {
	if testing.Short() {
		t.Skip("takes six seconds")
	}
	t.Parallel()
	engine := dockertest.Start(t)
	engine.Push("reg.example/c:v1")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStandInHost$")
	cmd.Env = append(os.Environ(), hostHelper+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	g := newGuest(t, t.TempDir(), engine.Host)
	if !lines.Scan() {
		t.Fatal("the host did not start")
	}
	var endpoint, pin string
	if _, err := fmt.Sscan(lines.Text(), &endpoint, &pin); err != nil {
		t.Fatalf("%q: %v", lines.Text(), err)
	}
	g.set("local_api_endpoint", endpoint, "local_api_pin_spki_sha256", pin, "controller_image", "reg.example/c:v1")

	got := make(chan contract.Report, 100)
	go func() {
		defer close(got)
		stopped := false
		for lines.Scan() {
			var r contract.Report
			if json.Unmarshal(lines.Bytes(), &r) != nil {
				continue
			}
			if !stopped && r.Step == contract.StepEngine {
				stopped = true
				_ = cmd.Process.Signal(syscall.SIGSTOP)
				time.AfterFunc(6*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGCONT) })
			}
			got <- r
		}
	}()
	if code, said := g.apply("--keep-trying"); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, said)
	}
	deadline := time.After(time.Minute)
	var seen []string
	for !slices.Contains(seen, "run done") || !slices.Contains(seen, "ready done") {
		select {
		case r, ok := <-got:
			if !ok {
				t.Fatalf("the host ended; it had %v", seen)
			}
			seen = append(seen, fmt.Sprint(r.Step, " ", r.State))
		case <-deadline:
			t.Fatalf("the host was told %v, want ready done and run done as well", seen)
		}
	}
}

// TestUndeliveredReportsComeWithTheNextRun starts the host after the first run.
func TestUndeliveredReportsComeWithTheNextRun(t *testing.T) {
	t.Parallel()
	engine := dockertest.Start(t)
	engine.Push("reg.example/c:v1")
	g := newGuest(t, t.TempDir(), engine.Host)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + l.Addr().String()
	_ = l.Close()
	g.set("controller_image", "reg.example/c:v1", "local_api_endpoint", closed)
	if code, said := g.apply(); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, said)
	}
	first := g.result().Run
	backlog := filepath.Join(g.root, hostapi.BacklogFile)
	if _, err := os.Stat(backlog); err != nil {
		t.Fatalf("nothing was kept for the next run: %v", err)
	}
	g.set("local_api_endpoint", g.host.endpoint)
	g.want(0, nil)
	g.host.mu.Lock()
	defer g.host.mu.Unlock()
	at := slices.IndexFunc(g.host.reports, func(r contract.Report) bool { return r.Run == first && r.Step == contract.StepRun })
	if at < 0 {
		t.Errorf("the end of run %s was not delivered: %+v", first, g.host.reports)
	}
	if _, err := os.Stat(backlog); err == nil {
		t.Error("the backlog is still there after its delivery")
	}
}

// TestWhyAPullIsTriedAgainIsReported: who waits on the host sees the reason, and
// not only that the image step has started.
func TestWhyAPullIsTriedAgainIsReported(t *testing.T) {
	t.Parallel()
	const refusal = "received unexpected HTTP status: 503 Service Unavailable"
	engine := dockertest.Start(t)
	engine.Push("reg.example/c:v1")
	engine.Fail("POST /images/create", 500, refusal)
	g := newGuest(t, t.TempDir(), engine.Host)
	g.set("controller_image", "reg.example/c:v1")
	g.want(0, []string{"trying again: "})
	g.host.mu.Lock()
	defer g.host.mu.Unlock()
	var messages []string
	for _, r := range g.host.reports {
		if r.Step == contract.StepImage && r.State == contract.StateStarted {
			messages = append(messages, r.Message)
		}
	}
	if !slices.ContainsFunc(messages, func(m string) bool {
		return strings.HasPrefix(m, "trying again: ") && strings.Contains(m, refusal)
	}) {
		t.Errorf("the host was told %q of the image step, want the reason to try again", messages)
	}
}
