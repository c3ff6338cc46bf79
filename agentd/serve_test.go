package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/freeport"
	"github.com/felhom/felhom-golden/internal/pin"
)

// output collects what the daemon writes while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) { o.mu.Lock(); defer o.mu.Unlock(); return o.b.Write(p) }

func (o *output) String() string { o.mu.Lock(); defer o.mu.Unlock(); return o.b.String() }

// bed is a daemon on loopback with its directories.
type bed struct {
	dir, config, url string
	logs             *output // all that any program wrote
	daemon           *output // what the daemon wrote
	tokens           []string
}

// newBed writes a configuration. No daemon runs.
func newBed(t testing.TB, more ...string) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("", "agentd") // a short name, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	addr := freeport.Address(t, "127.0.0.1")
	b := &bed{dir: dir, config: filepath.Join(dir, "agentd.yaml"), url: "https://" + addr, logs: &output{}, daemon: &output{}}
	text := fmt.Sprintf("host_id: demo\nhub_url: https://hub.example\ncontroller_image: registry.example/felhom/controller:v1\n"+
		"listen: [%q]\nstate_dir: %[2]s/state\nmounts_dir: %[2]s/mounts\nhealth_socket: %[2]s/health.sock\nstorage: {folder: %[2]s/guests}\n", addr, dir) + strings.Join(more, "")
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// store opens the host's store, as a command does, until the test ends.
func (b *bed) store(t testing.TB) *guests.Store {
	t.Helper()
	state := filepath.Join(b.dir, "state")
	store, err := guests.Open(filepath.Join(state, "guests"), state, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func startDaemon(t *testing.T, more ...string) *bed {
	t.Helper()
	return startDaemonWith(t, nil, more...)
}

// startDaemonWith gives serve flags.
func startDaemonWith(t *testing.T, flags []string, more ...string) *bed {
	t.Helper()
	b := newBed(t, more...)
	b.serve(t, flags...)
	return b
}

// serve runs the daemon until the test ends.
func (b *bed) serve(t *testing.T, flags ...string) {
	t.Helper()
	dir, addr := b.dir, strings.TrimPrefix(b.url, "https://")
	name := filepath.Join(dir, "notify")
	notify := listenNotify(t, name)
	t.Setenv("NOTIFY_SOCKET", name)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	args := append([]string{program, "--config", b.config, "serve"}, flags...)
	go func() { ended <- run(ctx, args, io.Discard, io.MultiWriter(b.logs, b.daemon)) }()
	t.Cleanup(func() {
		cancel()
		select {
		case code := <-ended:
			if code != 0 {
				t.Errorf("serve ended with %d after its signal:\n%s", code, b.logs)
			}
		case <-time.After(time.Minute):
			t.Error("serve did not end")
		}
		if got := notify(); got != "STOPPING=1" {
			t.Errorf("systemd was told %q, want STOPPING=1", got)
		}
		if _, err := os.Lstat(filepath.Join(dir, "health.sock")); !os.IsNotExist(err) {
			t.Errorf("the health socket is left behind: %v", err)
		}
	})
	if got := notify(); got != "READY=1\nSTATUS=serving "+addr {
		t.Fatalf("systemd was told %q:\n%s", got, b.logs)
	}
}

// listenNotify stands for systemd's notify socket. The caller puts its name into the daemon's
// environment, as NOTIFY_SOCKET.
func listenNotify(t testing.TB, name string) func() string {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return func() string {
		buf := make([]byte, 4096)
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err.Error()
		}
		n, err := conn.Read(buf)
		if err != nil {
			return err.Error()
		}
		return string(buf[:n])
	}
}

// command runs another command beside the daemon and returns its stdout.
func (b *bed) command(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), append([]string{program, "--config", b.config}, args...), &stdout, &stderr); code != 0 {
		t.Fatalf("%v exits with %d: %s", args, code, stderr.String())
	}
	_, _ = b.logs.Write(append(stdout.Bytes(), stderr.Bytes()...)) // for the scan
	return stdout.String()
}

// add makes a guest known and returns what its mount says.
func (b *bed) add(t *testing.T, vmid string) contract.Bootstrap {
	t.Helper()
	b.command(t, "guest", "add", vmid)
	return b.mounted(t, vmid)
}

func client(t *testing.T, boot contract.Bootstrap) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: pin.ClientTLS(boot.LocalAPIPins)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// answerOf makes the request, again if there is no answer: the daemon waits some seconds for a new
// connection's first request, which a busy machine may take from the client.
func answerOf(c *http.Client, r *http.Request) (res *http.Response, err error) {
	for range 5 {
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		if res, err = c.Do(r); err == nil {
			return res, nil
		}
	}
	return nil, err
}

func (b *bed) do(t *testing.T, c *http.Client, method, path, bearer, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := answerOf(c, r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = b.logs.Write(out) // for the scan
	return res.StatusCode, string(out)
}

// T1 to T4 of the system's page, with the real curl. The token goes by a file:
// an argument could be read by every user.
func TestChannelWithCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is missing: apt-get install curl")
	}
	b := startDaemon(t)
	boot := b.add(t, "8200")
	other := b.add(t, "8201")
	if err := os.MkdirAll(filepath.Join(b.dir, "guests/8200/rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	wrong := pin.Set{boot.LocalAPIPins[1]} // the next key's: right form, not shown yet
	cases := []struct {
		name, path, token, pins string
		wantExit                int
		wantStatus, wantBody    string
	}{
		{"T1 right pin, own token", "/storage", boot.LocalAPIToken.Reveal(), boot.LocalAPIPins.Curl(), 0, "200", `"guest":8200`},
		{"T2 right pin, no token", "/storage", "", boot.LocalAPIPins.Curl(), 0, "401", "unauthorized"},
		{"T3 right pin, another guest's token", "/guests/8200/storage", other.LocalAPIToken.Reveal(), boot.LocalAPIPins.Curl(), 0, "403", "forbidden"},
		{"T3 of a guest that does not exist", "/guests/8299/storage", other.LocalAPIToken.Reveal(), boot.LocalAPIPins.Curl(), 0, "403", "forbidden"},
		{"T4 wrong pin, own token", "/storage", boot.LocalAPIToken.Reveal(), wrong.Curl(), 90, "000", ""},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			options := filepath.Join(b.dir, fmt.Sprintf("curl%d", i))
			text := ""
			if c.token != "" {
				text = fmt.Sprintf("header = \"Authorization: Bearer %s\"\n", c.token)
			}
			if err := os.WriteFile(options, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), curl, "-sk", "--noproxy", "*", "-K", options, "--pinnedpubkey", c.pins, "-w", "%{http_code}", b.url+c.path)
			out, _ := cmd.Output() // the status is what is looked at
			got, code := string(out), cmd.ProcessState.ExitCode()
			if code != c.wantExit || !strings.HasSuffix(got, c.wantStatus) || !strings.Contains(got, c.wantBody) {
				t.Errorf("exit %d, %s, want %d, %s with %s", code, got, c.wantExit, c.wantStatus, c.wantBody)
			}
		})
	}
	if text := b.logs.String(); !strings.Contains(text, "token refused") {
		t.Errorf("T2 left no line in the log:\n%s", text)
	}
	// T4's request must not have come through: the log would show its first use
	// or its refusal, and there is one of each above.
	if n := strings.Count(b.logs.String(), "token refused"); n != 1 {
		t.Errorf("%d refusals were logged, want T2's alone", n)
	}
}

func TestTLSIsOnePointThreeAndHTTPOne(t *testing.T) {
	b := startDaemon(t)
	boot := b.add(t, "8200")
	conf := pin.ClientTLS(boot.LocalAPIPins)
	conf.NextProtos = []string{"h2", "http/1.1"}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(b.url, "https://"), conf)
	if err != nil {
		t.Fatal(err)
	}
	if state := conn.ConnectionState(); state.NegotiatedProtocol != "http/1.1" || state.Version != tls.VersionTLS13 {
		t.Errorf("got %q over %x, want http/1.1 over TLS 1.3", state.NegotiatedProtocol, state.Version)
	}
	_ = conn.Close()
	conf = pin.ClientTLS(boot.LocalAPIPins)
	conf.MinVersion, conf.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(b.url, "https://"), conf); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.2 was accepted")
	}
}

func headerLimit(t *testing.T) {
	t.Parallel()
	b := startDaemonProcess(t)
	boot := b.add(t, "8200")
	for size, want := range map[int]int{7 << 10: 200, 9 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/guest", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+boot.LocalAPIToken.Reveal())
		r.Header.Set("X-Padding", strings.Repeat("x", size))
		res, err := answerOf(client(t, boot), r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("header of %d bytes: %d, want %d", size, res.StatusCode, want)
		}
	}
}

func TestRotationBesideARunningDaemon(t *testing.T) {
	b := startDaemon(t)
	first := b.add(t, "8200")
	c := client(t, first)
	ask := func(boot contract.Bootstrap, path string, want int) {
		t.Helper()
		if got, body := b.do(t, c, "GET", path, boot.LocalAPIToken.Reveal(), ""); got != want {
			t.Errorf("%d %s, want %d", got, body, want)
		}
	}
	ask(first, "/guest", 200) // added while serving, seen at the next request
	second := b.add(t, "8200")
	ask(first, "/guest", 200)
	ask(second, "/guest", 200) // the bootstrapper, which still has an image to pull
	ask(first, "/storage", 200)
	ask(second, "/storage", 200) // the controller, with the new token
	ask(first, "/guest", 401)
	ask(second, "/guest", 200)
}

func TestReportsAreListed(t *testing.T) {
	b := startDaemon(t)
	boot := b.add(t, "8200")
	hostile, err := json.Marshal("\x1b[2J\x1b]0;owned\a evil\u202etxt\nnext line")
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"run":"r1","sequence":3,"time":"2026-03-01T12:00:00Z","step":"image","state":"failed","class":"not-ready","exit_code":5,"hint":"start it","message":%s}`, hostile)
	if got, text := b.do(t, client(t, boot), "POST", "/reports", boot.LocalAPIToken.Reveal(), body); got != 204 {
		t.Fatalf("%d %s", got, text)
	}
	out := b.command(t, "guest", "list")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], "failed: not-ready") || !strings.Contains(lines[1], "image: ") {
		t.Errorf("list:\n%s", out)
	}
	if logs := b.logs.String(); !strings.Contains(logs, `"class":"not-ready"`) || !strings.Contains(logs, `"level":"warning"`) || !strings.Contains(logs, `"hint":"start it"`) {
		t.Errorf("the failure is not in the log, with class and hint, as a warning:\n%s", logs)
	}
	if strings.ContainsAny(out, "\x1b\a\u202e") || !strings.Contains(out, `\x1b[2J`) {
		t.Errorf("the guest's text reached the terminal: %q", out)
	}
}

// What a step says while it runs is shown in its row.
func TestARetryIsListed(t *testing.T) {
	b := startDaemon(t)
	boot := b.add(t, "8200")
	for i, message := range []string{"", "retrying because the registry does not answer"} {
		body := fmt.Sprintf(`{"run":"r1","sequence":%d,"time":"2026-03-01T12:00:00Z","step":"image","state":"started","message":%q}`, i+1, message)
		if got, text := b.do(t, client(t, boot), "POST", "/reports", boot.LocalAPIToken.Reveal(), body); got != 204 {
			t.Fatalf("%d %s", got, text)
		}
	}
	out := b.command(t, "guest", "list")
	if !strings.Contains(out, "starting") || !strings.Contains(out, "image: retrying because the registry does not answer") {
		t.Errorf("want the reason of the retry in the row, got:\n%s", out)
	}
}

// A guest that waits for a registry keeps no daemon from its end, and is told to
// ask again.
func TestStopBesideASlowRegistry(t *testing.T) {
	asked := make(chan struct{}, 100)
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			asked <- struct{}{}
			<-r.Context().Done()
		}
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "https://")
	var daemon *output
	answers := make(chan string, 1)
	t.Run("until the daemon has ended", func(daemons *testing.T) {
		b := startDaemon(daemons, fmt.Sprintf("registry_access: proxy\nregistries: [{host: %q, ca_file: %s}]\nrepositories: [%q]\n", host, ca, host+"/team/app"))
		daemon = b.daemon
		boot := b.add(daemons, "8200")
		c := client(t, boot)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/v2/team/app/manifests/v1", http.NoBody)
		if err != nil {
			daemons.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+boot.LocalAPIToken.Reveal())
		go func() {
			res, err := answerOf(c, r)
			if err != nil {
				answers <- err.Error()
				return
			}
			_ = res.Body.Close() // the status is what is looked at
			answers <- res.Status + ", Retry-After: " + res.Header.Get("Retry-After")
		}()
		select {
		case <-asked:
		case answer := <-answers:
			daemons.Fatalf("the registry was not asked: %s", answer)
		case <-time.After(time.Minute):
			daemons.Fatal("the registry was not asked within a minute")
		}
	})
	if got, want := <-answers, "503 Service Unavailable, Retry-After: 5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if logs := daemon.String(); !strings.Contains(logs, `"msg":"stopped"`) || strings.Contains(logs, "are cut") {
		t.Errorf("want an end in time, got:\n%s", logs)
	}
}

// Requests that do not end in time are cut, and the other servers end all the same.
func TestRequestsThatDoNotEndAreCut(t *testing.T) {
	began := make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	}))
	defer func() { stuck.CloseClientConnections(); stuck.Close() }()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	ended := make(chan error, 1)
	go func() {
		res, err := http.Get(stuck.URL)
		if err == nil {
			err = res.Body.Close()
		}
		ended <- err
	}()
	<-began
	logs := &output{}
	s := &service{logger: newLogger(logs, logOptions{level: logrus.InfoLevel})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := s.drain(ctx, []*http.Server{stuck.Config, other.Config}); err != nil {
		t.Errorf("error %v, want none", err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the request was answered, want it cut")
		}
	case <-time.After(patience):
		t.Errorf("the request was not cut within %v", patience)
	}
	if n := strings.Count(logs.String(), "are cut"); n != 1 {
		t.Errorf("want one warning, got:\n%s", logs)
	}
}

func TestASecondDaemonIsRefused(t *testing.T) {
	b := startDaemon(t)
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{program, "--config", b.config, "serve"}, io.Discard, &stderr); code != 5 || !strings.Contains(stderr.String(), fmt.Sprintf("locked by pid %d", os.Getpid())) {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	// Another state directory, the same address: the port's holder is named.
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(b.dir, "other.yaml")
	if err := os.WriteFile(other, bytes.ReplaceAll(text, []byte("/state\n"), []byte("/state2\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	if code := run(t.Context(), []string{program, "--config", other, "serve"}, io.Discard, &stderr); code != 5 || !strings.Contains(stderr.String(), fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	if _, err := os.Lstat(filepath.Join(b.dir, "health.sock")); err != nil {
		t.Errorf("the refused daemon took the socket of the other away: %v", err)
	}
}

func TestHealth(t *testing.T) {
	b := startDaemon(t)
	b.add(t, "8200")
	socket := filepath.Join(b.dir, "health.sock")
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v, want mode 0600", info.Mode(), err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get("http://agent" + contract.PathHealth)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(res.Body)
	if want := fmt.Sprintf(`{"ready":true,"guests":1,"listen":[%q],"version":"dev","origin":{"mode":"observe","checked":0,"mismatches":{}}}`+"\n", strings.TrimPrefix(b.url, "https://")); err != nil || string(out) != want {
		t.Errorf("health %s, %v, want %s", out, err, want)
	}
}

// The status page answers on the Unix socket and on its own address, and nowhere
// else.
func TestStatusPage(t *testing.T) {
	own := freeport.Address(t, "127.0.0.1")
	b := startDaemon(t, "status_listen: "+own+"\n")
	boot := b.add(t, "8200")
	socket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(b.dir, "health.sock"))
	}}
	defer socket.CloseIdleConnections()
	for name, c := range map[string]struct {
		client *http.Client
		url    string
		want   int
	}{
		"socket":   {&http.Client{Transport: socket}, "http://localhost/status", http.StatusOK},
		"guest":    {&http.Client{Transport: socket}, "http://localhost/status/guests/8200", http.StatusOK},
		"address":  {http.DefaultClient, "http://" + own + "/status", http.StatusOK},
		"health":   {http.DefaultClient, "http://" + own + "/health", http.StatusNotFound},
		"to guest": {client(t, boot), b.url + "/status", http.StatusUnauthorized},
	} {
		res, err := c.client.Get(c.url)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != c.want || (c.want == http.StatusOK) != strings.Contains(string(body), "8200") {
			t.Errorf("%s: %s, %v, want %d:\n%.500s", name, res.Status, err, c.want, body)
		}
		if strings.Contains(string(body), boot.LocalAPIToken.Reveal()) {
			t.Errorf("%s shows the guest's token", name)
		}
	}
}

// No token may be anywhere but in its guest's mount: not in the log, not in
// an answer, not in what the commands print, not in the state.
func TestTokensAreNowhere(t *testing.T) {
	b := startDaemon(t)
	first := b.add(t, "8200")
	boot := b.add(t, "8200")
	other := b.add(t, "8201")
	good := boot.LocalAPIToken.Reveal()
	bad := []string{
		token.Mint(8200).Reveal(), token.Mint(8299).Reveal(), first.LocalAPIToken.Reveal(), other.LocalAPIToken.Reveal(),
		good[:len(good)-1], strings.ToUpper(good), "ghp_" + good[4:],
	}
	c := client(t, boot)
	for _, route := range []struct{ method, path string }{
		{"GET", "/guest"}, {"GET", "/storage"}, {"GET", "/guests/8200/storage"}, {"POST", "/reports"}, {"GET", "/"}, {"PUT", "/guest"},
	} {
		for _, tok := range append([]string{good}, bad...) {
			b.do(t, c, route.method, route.path, tok, `{"message":"`+tok+`"}`)
			b.do(t, c, route.method, route.path+"?token="+tok, "", "")
		}
	}
	b.command(t, "guest", "list")
	b.command(t, "guest", "list", "--json")
	b.command(t, "pin")
	places := map[string]string{"output": b.logs.String()}
	err := filepath.WalkDir(filepath.Join(b.dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		places[path] = string(data)
		return err
	})
	if err != nil || len(places) < 6 {
		t.Fatalf("%d places, %v", len(places), err)
	}
	for place, text := range places {
		for _, tok := range append(b.tokens, bad...) {
			// A piece of the secret is as bad as the whole.
			if strings.Contains(text, tok[12:36]) {
				t.Errorf("%s holds a token:\n%s", place, text)
			}
		}
	}
}
