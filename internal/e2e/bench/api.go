package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/fault"
)

// firstGuest is the VMID of the first simulated guest.
const firstGuest = 8200

// apiField is what the local API is measured on: the daemon, and nginx with the
// same certificate and the same answer, both on the loopback.
type apiField struct {
	dir    string
	daemon *testbed.Daemon
	peer   *testbed.Daemon
	config string
	binary string
	own    string // "127.0.0.1:PORT" of the daemon
	nginx  string // of nginx
	image  string // the guests' image
	more   string // lines for the daemon's configuration
	guests []contract.Bootstrap
	log    io.Writer
	rounds int
}

// benchAPI measures the local API against nginx, and under a crowd and a flood.
func benchAPI(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	if err := testbed.Require(ctx, stderr, "nginx"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-api-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f := &apiField{dir: dir, config: filepath.Join(dir, "agentd.yaml"), image: "registry.example/app:1", log: stderr}
	if f.binary, err = agentdOf(o); err != nil {
		return err
	}
	if err := f.startDaemon(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.daemon.Stop(time.Minute)) }()
	idle, err := f.idle(ctx)
	if err != nil {
		return err
	}
	f.say("adding %d guests", o.guests)
	if err := f.add(ctx, o.guests); err != nil {
		return err
	}
	if err := f.startNginx(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.peer.Stop(time.Minute)) }()
	var r apiResults
	r.idle = idle
	for round := range o.rounds {
		f.say("round %d of %d", round+1, o.rounds)
		if err := f.round(ctx, round > 0 || o.rounds == 1, &r); err != nil {
			return err
		}
	}
	f.say("%d guests boot within %s", len(f.guests), bootWindow)
	if r.crowd, err = f.crowd(ctx); err != nil {
		return err
	}
	if r.stored, err = f.stored(ctx); err != nil {
		return err
	}
	f.say("a flood from one source")
	if r.flood, err = f.flood(ctx); err != nil {
		return err
	}
	if r.busy, err = residentBytes(f.daemon.PID()); err != nil {
		return err
	}
	return r.print(stdout, len(f.guests), o)
}

// agentdOf returns the path of the daemon that is measured.
func agentdOf(o options) (string, error) {
	binary, err := filepath.Abs(filepath.Join(o.dist, "felhom-agentd"))
	if err != nil {
		return "", err
	}
	_, err = os.Stat(binary)
	return binary, fault.WrapHint(fault.NotReady, err, "make build")
}

func (f *apiField) say(format string, args ...any) {
	_, _ = fmt.Fprintf(f.log, format+"\n", args...) // nowhere else to report to
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (f *apiField) startDaemon(ctx context.Context) (err error) {
	if f.own, err = freePort(); err != nil {
		return err
	}
	config := fmt.Sprintf("host_id: bench\ncontroller_image: %[3]s\nlisten: [%[1]q]\nstate_dir: %[2]s/state\nmounts_dir: %[2]s/mounts\nhealth_socket: %[2]s/health.sock\n%[4]s", f.own, f.dir, f.image, f.more)
	if err := os.WriteFile(f.config, []byte(config), 0o600); err != nil {
		return err
	}
	f.daemon, err = testbed.StartDaemon("felhom-agentd", exec.Command(f.binary, "--config", f.config, "serve"), filepath.Join(f.dir, "agentd.log"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := f.daemon.Wait(ctx, host.Healthy(filepath.Join(f.dir, "health.sock"))); err != nil {
		return errors.Join(err, f.daemon.StopAnyway())
	}
	return nil
}

// idle waits until the daemon has rested and returns its memory.
func (f *apiField) idle(ctx context.Context) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(3 * time.Second):
	}
	return residentBytes(f.daemon.PID())
}

// add makes guests known, a few at a time, as an operator would.
func (f *apiField) add(ctx context.Context, count int) error {
	f.guests = make([]contract.Bootstrap, count)
	errs := make([]error, count)
	slots := make(chan struct{}, runtime.NumCPU())
	var adding sync.WaitGroup
	for i := range count {
		adding.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f.guests[i], errs[i] = f.addOne(ctx, firstGuest+i)
		})
	}
	adding.Wait()
	return errors.Join(errs...)
}

func (f *apiField) addOne(ctx context.Context, vmid int) (b contract.Bootstrap, err error) {
	if _, err := run.Run(ctx, run.Cmd{Path: f.binary, Args: []string{"--config", f.config, "guest", "add", strconv.Itoa(vmid)}, Env: os.Environ()}); err != nil {
		return b, err
	}
	return f.mounted(vmid)
}

// mounted returns what a guest is told now.
func (f *apiField) mounted(vmid int) (b contract.Bootstrap, err error) {
	data, err := os.ReadFile(filepath.Join(f.dir, "mounts", strconv.Itoa(vmid), "bootstrap.json"))
	if err != nil {
		return b, err
	}
	b, findings := contract.Parse(data)
	return b, findings.Err()
}

// startNginx serves what the daemon answers to GET /guest, with its certificate
// and a comparison of the token.
func (f *apiField) startNginx(ctx context.Context) (err error) {
	if f.nginx, err = freePort(); err != nil {
		return err
	}
	body, err := f.ask(ctx, f.own)
	if err != nil {
		return err
	}
	conf := strings.NewReplacer("DIR", f.dir, "LISTEN", f.nginx, "TOKEN", f.guests[0].LocalAPIToken.Reveal(), "BODY", strings.TrimSpace(body)).Replace(`
daemon off; user root; worker_processes auto; pid DIR/nginx.pid; error_log DIR/nginx.log;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 60s;
  client_body_temp_path DIR/nginx-body; proxy_temp_path DIR/nginx-proxy; fastcgi_temp_path DIR/nginx-fastcgi;
  uwsgi_temp_path DIR/nginx-uwsgi; scgi_temp_path DIR/nginx-scgi;
  server {
    listen LISTEN ssl; ssl_protocols TLSv1.3; ssl_session_tickets off;
    ssl_certificate DIR/state/tls/current.crt; ssl_certificate_key DIR/state/tls/current.key;
    location = /guest {
      if ($http_authorization != "Bearer TOKEN") { return 401; }
      default_type application/json;
      return 200 'BODY';
    }
  }
}
`)
	file := filepath.Join(f.dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return err
	}
	f.peer, err = testbed.StartDaemon("nginx", exec.Command("nginx", "-c", file), filepath.Join(f.dir, "nginx.out"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := f.peer.Wait(ctx, func(ctx context.Context) error { _, err := f.ask(ctx, f.nginx); return err }); err != nil {
		return errors.Join(err, f.peer.StopAnyway())
	}
	return nil
}

func (f *apiField) ask(ctx context.Context, at string) (string, error) {
	c := f.client(0, "127.0.0.1")
	defer c.CloseIdleConnections()
	return get(ctx, c, at, f.guests[0].LocalAPIToken.Reveal())
}

// get asks for /guest and wants the guest's own answer.
func get(ctx context.Context, c *http.Client, at, token string) (string, error) {
	status, body, err := ask(ctx, c, at, contract.PathGuest, token)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d", contract.PathGuest, status)
	}
	return body, err
}

func ask(ctx context.Context, c *http.Client, at, path, token string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+at+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, contract.MaxResponseBytes))
	return resp.StatusCode, string(body), errors.Join(err, resp.Body.Close())
}
