package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
)

// faultCatalogue names the faults that engines 20.10, 26.1 and the 29 line were
// seen to have. Each is a row of fakedFaults, or of a table of real ones.
var faultCatalogue = []string{
	"wrong password", "no credential", "token server refuses", "token server down", "access denied", "unknown tag",
	"other architecture in an index", "other architecture", "connection refused", "network down", "no such host", "name server silent",
	"unknown authority", "certificate not yet valid", "certificate expired", "plain HTTP", "rate limit on the manifest", "rate limit on a blob",
	"registry unavailable", "registry error on a blob", "blob missing", "captive portal", "corrupt layer", "truncated layer", "reset in a layer",
	"silent registry", "stalled layer", "disk full", "engine stopped during a pull", "no engine", "engine of another user", "hung engine",
	"name taken", "port taken", "bridge vanished", "AppArmor", "exits at once", "unhealthy", "invalid reference", "API version", "unknown text",
}

// wantFault is how a run must fail.
type wantFault struct {
	step  contract.Step
	code  int
	words []string // of the message; | between what engines of different ages say
	hint  string
	tries int // of the pull; 0: as many as its patience allows
	// untold is set where the host cannot be reached by what the guest was given.
	untold bool
}

// isFinal reports whether only a change of the mount leads to another run.
func (w wantFault) isFinal() bool { return w.code == 3 || w.code == 4 }

// classes are the classes of docs/exit-codes.md.
var classes = map[int]string{1: "failed", 3: "refused", 4: "verification", 5: "not-ready"}

// lockedText collects what a program writes while it runs.
type lockedText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// faultLimit bounds one run: engines have limits of 15 and 30 s of their own, and a
// silent pull continues for up to 20 minutes while other traffic comes to the machine.
const faultLimit = 25 * time.Minute

// assertFault runs the program as the unit does, and checks class, verdict,
// message and hint in what it says, in its record, and in what the host received.
func (g *guest) assertFault(want wantFault, args ...string) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	said, ended := &lockedText{}, make(chan int, 1)
	full := append([]string{program, "apply", "--keep-trying", "--host-patience", "1s", "--root", g.root, "--docker-host", g.dockerHost}, args...)
	go func() { ended <- run(ctx, full, io.Discard, said) }()
	code, isOver := g.awaitFailure(ended)
	result := g.result()
	cancel()
	if !isOver {
		<-ended
	}
	switch {
	case result.ExitCode != want.code || isOver && code != want.code:
		g.t.Errorf("exit code %d, recorded %d, want %d", code, result.ExitCode, want.code)
	case isOver != want.isFinal():
		g.t.Errorf("ended %v, next try %s: want final %v", isOver, result.NextTry, want.isFinal())
	case !isOver && result.NextTry.IsZero():
		g.t.Error("it waits, and no next try is recorded")
	}
	if result.Class != classes[want.code] {
		g.t.Errorf("class %q, want %q", result.Class, classes[want.code])
	}
	if tries := 1 + strings.Count(said.String(), "trying again"); want.tries != 0 && tries != want.tries {
		g.t.Errorf("%d tries, want %d", tries, want.tries)
	}
	assertTold(g.t, "the record", want, result.Message, result.Hint)
	g.assertReported(want)
	if strings.Contains(said.String(), guestToken) || strings.Contains(said.String(), wrongPassword) {
		g.t.Error("a secret is in the output")
	}
	if g.t.Failed() {
		g.t.Logf("it says:\n%s", said)
	}
}

// wrongPassword is the one that a registry refuses.
const wrongPassword = "not-the-password"

// awaitFailure waits for the end of the first run: the program has ended with
// code, or waits for its next try.
func (g *guest) awaitFailure(ended <-chan int) (code int, isOver bool) {
	g.t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	limit := time.After(faultLimit)
	for {
		select {
		case code := <-ended:
			return code, true
		case <-limit:
			g.t.Fatal("the run did not end")
		case <-look.C:
			r, err := record.Read(filepath.Join(g.root, record.File))
			if err == nil && !r.NextTry.IsZero() && g.hasReport(isRunFailed) {
				return 0, false
			}
		}
	}
}

func isRunFailed(r contract.Report) bool {
	return r.Step == contract.StepRun && r.State == contract.StateFailed
}

func (g *guest) hasReport(is func(contract.Report) bool) bool {
	g.host.mu.Lock()
	defer g.host.mu.Unlock()
	return slices.ContainsFunc(g.host.reports, is)
}

// assertReported checks that the host knows what failed: the step, and the run.
func (g *guest) assertReported(want wantFault) {
	g.t.Helper()
	g.host.mu.Lock()
	defer g.host.mu.Unlock()
	if want.untold {
		return
	}
	for _, step := range []contract.Step{want.step, contract.StepRun} {
		i := slices.IndexFunc(g.host.reports, func(r contract.Report) bool { return r.Step == step && r.State == contract.StateFailed })
		if i < 0 {
			g.t.Errorf("the host was not told that %s failed: %+v", step, g.host.reports)
			continue
		}
		r := g.host.reports[i]
		if r.ExitCode != want.code || r.Class != classes[want.code] {
			g.t.Errorf("report of %s: class %q, exit code %d, want %q and %d", step, r.Class, r.ExitCode, classes[want.code], want.code)
		}
		assertTold(g.t, "the report of "+string(step), want, r.Message, r.Hint)
	}
}

func assertTold(t *testing.T, where string, want wantFault, message, hint string) {
	t.Helper()
	for _, w := range want.words {
		if !slices.ContainsFunc(strings.Split(w, "|"), func(w string) bool { return strings.Contains(message, w) }) {
			t.Errorf("%s does not say %q: %q", where, w, message)
		}
	}
	if !strings.Contains(hint, want.hint) || want.hint == "" && hint != "" {
		t.Errorf("%s has the hint %q, want %q", where, hint, want.hint)
	}
	if strings.Contains(message+hint, wrongPassword) {
		t.Errorf("%s has the password", where)
	}
}

// The hints of a registry's faults.
const (
	hintUnreachable = "check that the registry runs"
	hintEngine      = "look at the engine: systemctl status docker.service"
)

// front is an engine of which some answers are replaced. replace returns false to
// pass a request on.
type front func(w http.ResponseWriter, r *http.Request) (done bool)

// pullFails replaces the answer to each pull, in the stream that begins with 200 or as an error.
func pullFails(inStream bool, text string) front {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/images/create") {
			return false
		}
		status, key := http.StatusInternalServerError, "message"
		if inStream {
			status, key = http.StatusOK, "error"
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"`+key+`":`+quoted(text)+`}`)
		return true
	}
}

// containerFails is pullFails for the request on a container whose path ends so.
func containerFails(suffix string, status int, text string) front {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"message":`+quoted(text)+`}`)
		return true
	}
}

// start serves the fake engine behind the front, on a socket of its own.
func (f front) start(t *testing.T, engine *dockertest.Engine) (host string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "f.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f(w, r) {
			engine.ServeHTTP(w, r)
		}
	})}}
	server.Start()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return "unix://" + socket
}
