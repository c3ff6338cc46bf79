package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/faultregistry"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/fault"
)

const (
	// faultTime is how long a fault lasts after the program has started.
	faultTime = 5 * time.Second
	// recoveryLimit is how long after the end of a fault a controller may be missing.
	recoveryLimit = 2 * time.Minute
	// spikeLimit is the same for the script, which its unit runs once: a script that
	// has ended changes nothing any more.
	spikeLimit = 15 * time.Second
)

// trouble is a fault that ends by itself, or by what an operator does on the host.
type trouble struct {
	name string
	// answer is what the registry says while the fault lasts; nil: it is well.
	answer *faultregistry.Answer
	cuts   bool // the registry ends connections in the middle of a layer
	wrong  bool // the guest's password is wrong, until the host corrects it
	killed bool // the program is killed, and started again as after a boot
	// update is the image of a second run, while the controller of the first one runs.
	update string
}

func troubles() []trouble {
	refusal := func(status int, code, text string) *faultregistry.Answer {
		return faultregistry.Say(status, faultregistry.TypeJSON, faultregistry.ProblemJSON(code, text))
	}
	return []trouble{
		{name: "registry answers 503 for 5 s", answer: refusal(503, "UNAVAILABLE", "not now")},
		{name: "registry limits its callers (429) for 5 s", answer: refusal(429, "TOOMANYREQUESTS", "slow down")},
		{name: "login page in place of the registry for 5 s", answer: faultregistry.Say(200, faultregistry.TypeHTML, "<!DOCTYPE html><html><body>Log in</body></html>")},
		{name: "image is pushed 5 s late", answer: refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")},
		{name: "registry ends connections in a layer for 5 s", cuts: true},
		{name: "wrong password, corrected on the host after 5 s", wrong: true},
		{name: "program killed in the pull, started again after 5 s", killed: true, answer: refusal(503, "UNAVAILABLE", "not now")},
		{name: "program started again, nothing to do", update: "v1"},
		{name: "update to an image that stays unhealthy", update: "unhealthy"},
		{name: "update to an image that does not exist", update: "nope"},
	}
}

// ending is what became of a guest.
type ending struct {
	survived bool
	text     string
}

// troubled is a field whose registry can be made to fail.
type troubled struct {
	*field
	front *httptest.Server
	now   atomic.Pointer[trouble]
	file  string // bootstrap.json of the guest
	token string
	proxy *httputil.ReverseProxy
}

// benchFaults makes faults for the shell script of the spike and for the
// bootstrapper, and prints what became of the guest's controller.
func benchFaults(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	bed, err := testbed.Find()
	if err != nil {
		return fault.Wrap(fault.NotReady, err)
	}
	if err := testbed.Require(ctx, stderr, "docker", "jq"); err != nil {
		return err
	}
	dir := filepath.Join(bed.Dir, "faults")
	settings := host.Settings{Binary: filepath.Join(o.dist, "felhom-agentd"), Dir: dir, Image: o.image}
	daemon, err := host.Start(ctx, bed, settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, daemon.Stop(), os.RemoveAll(dir)) }()
	f, err := prepare(ctx, bed, o, settings, daemon)
	if err != nil {
		return err
	}
	w, err := newTroubled(bed, f)
	if err != nil {
		return err
	}
	defer func() {
		w.front.Close()
		err = errors.Join(err, w.clearAll(context.WithoutCancel(ctx)))
		f.engine.Close()
	}()

	p := &printer{w: stdout}
	version, api, err := f.engine.Version(ctx)
	if err != nil {
		return err
	}
	p.line("Engine %s (API %s). A guest that has no controller up to %s after the end of a fault is lost (%s with the script, which runs once).\n", version, api, recoveryLimit, spikeLimit)
	p.line("| fault | shell spike | felhom-controller-bootstrap |\n|---|---|---|")
	survived := map[string]int{}
	for _, one := range troubles() {
		row := "| " + one.name
		for _, c := range []contestant{f.cases[cold][1], f.cases[cold][2]} {
			_, _ = fmt.Fprintf(stderr, "%s: %s\n", c.name, one.name)
			end, err := w.try(ctx, one, c)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, one.name, err)
			}
			if end.survived {
				survived[c.name]++
			}
			row += " | " + end.text
		}
		p.line("%s |", row)
	}
	tried := len(troubles())
	p.line("| **tried, survived, lost** | %[1]d, %[2]d, %[3]d | %[1]d, %[4]d, %[5]d |", tried, survived[spike], tried-survived[spike], survived[felhom], tried-survived[felhom])
	return p.err
}

// newTroubled puts a front before the bed's registry, where engines want no TLS.
func newTroubled(bed testbed.Bed, f *field) (*troubled, error) {
	authority, err := os.ReadFile(bed.CAFile)
	if err != nil {
		return nil, err
	}
	token, err := bed.Token()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("no certificate in %s", bed.CAFile)
	}
	w := &troubled{field: f, file: filepath.Join(f.guest, "etc/felhom-bootstrap/bootstrap.json"), token: token, proxy: &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: bed.Registry}) },
	}}
	w.front = httptest.NewServer(w)
	return w, nil
}

// ServeHTTP implements http.Handler: the registry, or its fault.
func (w *troubled) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	one := w.now.Load()
	switch {
	case one == nil:
		w.proxy.ServeHTTP(answer, r)
	case one.answer != nil:
		faultregistry.Registry{Base: one.answer}.ServeHTTP(answer, r)
	case one.cuts && strings.Contains(r.URL.Path, "/blobs/"):
		faultregistry.Truncated(answer, r, bytes.Repeat([]byte("x"), 4096))
	default:
		w.proxy.ServeHTTP(answer, r)
	}
}

func (w *troubled) address() string { return strings.TrimPrefix(w.front.URL, "http://") }

// give writes the guest's bootstrap.json with an image and a password.
func (w *troubled) give(tag, password string) error {
	data, err := os.ReadFile(w.file)
	if err != nil {
		return err
	}
	var boot map[string]any
	if err := json.Unmarshal(data, &boot); err != nil {
		return err
	}
	delete(boot, "controller_image_manifest_digest")
	delete(boot, "controller_image_config_digest")
	boot["controller_image"] = w.reference(tag)
	boot["registry"] = map[string]any{"host": w.address(), "username": "guest", "token": password}
	boot["ready_wait"] = "20s"
	if data, err = json.Marshal(boot); err != nil {
		return err
	}
	return os.WriteFile(w.file, data, 0o640) // in place: owner and mode stay
}

func (w *troubled) reference(tag string) string { return w.address() + "/felhom/controller:" + tag }

func (w *troubled) clearAll(ctx context.Context) error {
	var all []error
	for _, name := range []string{containerName, containerName + "-next", containerName + "-previous"} {
		all = append(all, w.engine.Remove(ctx, name))
	}
	for _, tag := range []string{"v1", "unhealthy"} {
		all = append(all, w.engine.RemoveImage(ctx, w.reference(tag)))
	}
	return errors.Join(all...)
}

// start starts a contestant, the bootstrapper as its unit does.
func (w *troubled) start(c contestant) (*exec.Cmd, chan error, error) {
	argv := c.argv
	if c.name == felhom {
		argv = append(append([]string{}, argv...), "--keep-trying", "--host-patience", "10s")
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the script has children
	ended := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	go func() { ended <- cmd.Wait() }()
	return cmd, ended, nil
}

func kill(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it may have ended

// await waits for a run that was killed, whose error says nothing else.
func await(ended <-chan error) {
	var exit *exec.ExitError
	if err := <-ended; err != nil && !errors.As(err, &exit) {
		_, _ = fmt.Fprintln(os.Stderr, err)
	}
}

// try makes one fault for one contestant.
func (w *troubled) try(ctx context.Context, one trouble, c contestant) (end ending, err error) {
	if err := w.clearAll(ctx); err != nil {
		return end, err
	}
	password := w.token
	if one.wrong {
		password = "not-the-password"
	}
	if err := w.give("v1", password); err != nil {
		return end, err
	}
	if one.update != "" {
		return w.tryAgain(ctx, one, c)
	}
	w.now.Store(&one)
	defer w.now.Store(nil)
	cmd, ended, err := w.start(c)
	if err != nil {
		return end, err
	}
	defer func() { kill(cmd); await(ended) }()
	select {
	case <-ctx.Done():
		return end, ctx.Err()
	case <-time.After(faultTime):
	}
	w.now.Store(nil)
	over := time.Now()
	if one.wrong {
		if err := w.give("v1", w.token); err != nil {
			return end, err
		}
	}
	if one.killed {
		kill(cmd)
	}
	if one.killed || one.wrong && len(ended) > 0 { // by the boot, or by the path unit
		await(ended)
		next, nextEnded, err := w.start(c)
		if err != nil {
			ended <- nil // for the wait above
			return end, err
		}
		cmd, ended = next, nextEnded
	}
	limit := recoveryLimit
	if c.name == spike {
		limit = spikeLimit
	}
	if err := w.healthy(ctx, "v1", limit); err != nil {
		return ending{false, "**lost**: " + err.Error()}, ctx.Err()
	}
	return ending{true, fmt.Sprintf("controller up %.1f s after its end", time.Since(over).Seconds())}, nil
}

// tryAgain runs a contestant a second time, while its controller runs.
func (w *troubled) tryAgain(ctx context.Context, one trouble, c contestant) (end ending, err error) {
	status := ""
	for _, tag := range []string{"v1", one.update} {
		if err := w.give(tag, w.token); err != nil {
			return end, err
		}
		cmd, ended, err := w.start(c)
		if err != nil {
			return end, err
		}
		select {
		case err := <-ended:
			status = "exit status 0"
			if err != nil {
				status = err.Error()
			}
		case <-time.After(30 * time.Second): // it tries again
			status = "it tries again"
			kill(cmd)
			await(ended)
		}
		if tag == "v1" {
			if err := w.healthy(ctx, "v1", recoveryLimit); err != nil {
				return end, err
			}
		}
	}
	if err := w.healthy(ctx, "v1", recoveryLimit); err != nil {
		return ending{false, "**lost**: " + err.Error()}, ctx.Err()
	}
	return ending{true, "the controller of before runs; " + status}, nil
}

// healthy waits until the controller runs, and its health test passes.
func (w *troubled) healthy(ctx context.Context, tag string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var state error
	if guest.Poll(ctx, func() error { state = w.look(ctx, tag); return state }) != nil {
		return state
	}
	return nil
}

// look returns an error that says how the controller is, unless it runs and its health test passes.
func (w *troubled) look(ctx context.Context, tag string) error {
	c, err := w.engine.ContainerInspect(ctx, containerName)
	switch {
	case err != nil || c.State == nil:
		return errors.New("no controller")
	case c.State.Health == nil:
		return errors.New("the controller is " + c.State.Status)
	case c.State.Health.Status != "healthy" || c.Config.Image != w.reference(tag):
		return errors.New("the controller is " + c.State.Status + ", " + c.State.Health.Status)
	}
	return nil
}
