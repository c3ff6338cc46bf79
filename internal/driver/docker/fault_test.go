package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// TestCatalogue holds every text of the fault catalogue, taken from engines
// 20.10.24, 26.1.5 and the 29 line, against its kind and verdict.
func TestCatalogue(t *testing.T) {
	for _, test := range []struct {
		name    string
		texts   []string
		want    Kind
		verdict Verdict
	}{
		{"wrong password", []string{
			"login attempt to http://H/v2/ failed with status: 401 Unauthorized",
			"unauthorized: authentication required",
			"unauthorized",
			"Error response from daemon: unauthorized",
			`unknown: failed to resolve reference "H/a:1": unexpected status from HEAD request to https://H/v2/a/manifests/1: 401 Unauthorized`,
			`Head "https://H/v2/a/manifests/1": unauthorized: unauthorized: token expired`,
			"error from registry: unauthorized: token expired",
		}, Credential401, Permanent},
		{"no credentials", []string{
			`Head "https://H/v2/a/manifests/1": no basic auth credentials`,
			`failed to resolve reference "H/a:1": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`,
		}, NoCredential, Permanent},
		{"token server down", []string{
			`Head "https://H/v2/a/manifests/1": Get "http://T/token?account=u&scope=repository%3Aa%3Apull": dial tcp 192.0.2.1:80: connect: connection refused`,
			`failed to authorize: failed to fetch oauth token: Post "http://T/token": dial tcp 192.0.2.1:80: connect: connection refused`,
		}, Unreachable, Retry},
		{"403", []string{"denied", "Error response from daemon: denied", "error from registry: denied\nerror from registry: denied"}, Denied, Permanent},
		{"unknown tag", []string{
			"manifest for H/a:1 not found: manifest unknown: manifest unknown",
			`failed to resolve reference "H/a:1": H/a:1: not found`,
		}, UnknownImage, RetryFew},
		{"other architecture", []string{
			"no matching manifest for linux/amd64 in the manifest list entries",
			"no matching manifest for linux/amd64/v4 in the manifest list entries: no match for platform in manifest: not found",
		}, WrongPlatform, Permanent},
		{"connection refused", []string{
			`Get "http://H/v2/": dial tcp 127.0.0.1:5000: connect: connection refused`,
			`failed to resolve reference "H/a:1": failed to do request: Head "https://H/v2/a/manifests/1": dial tcp 192.0.2.1:443: connect: connection refused`,
		}, Unreachable, Retry},
		{"no route", []string{`Get "https://H/v2/": dial tcp 192.0.2.1:443: connect: network is unreachable`}, Unreachable, Retry},
		{"no such host", []string{`Get "https://H/v2/": dial tcp: lookup H on 192.0.2.53:53: no such host`}, NoName, RetryFew},
		{"unknown authority", []string{
			`Get "https://H/v2/": x509: certificate signed by unknown authority`,
			`Get "https://H/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
			`Get "https://H/v2/": x509: cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs`,
		}, UntrustedTLS, Permanent},
		{"clock", []string{
			`Get "https://H/v2/": x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is before 2026-02-01T00:00:00Z`,
			`Get "https://H/v2/": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time A is after B`,
		}, ClockOrExpiry, Retry},
		{"plain http", []string{`Get "https://H/v2/": http: server gave HTTP response to HTTPS client`}, PlainHTTP, Permanent},
		{"429", []string{
			"toomanyrequests: slow down",
			`failed to resolve reference "H/a:1": unexpected status from HEAD request to https://H/v2/a/manifests/1: 429 Too Many Requests`,
			"error pulling image configuration: download failed after attempts=1: toomanyrequests: slow down",
		}, RateLimited, Retry},
		{"5xx", []string{
			"received unexpected HTTP status: 503 Service Unavailable",
			`unexpected status from HEAD request to https://H/v2/a/manifests/1: 503 Service Unavailable`,
			"error pulling image configuration: download failed after attempts=6: received unexpected HTTP status: 500 Internal Server Error",
			"unknown: failed to copy: httpReadSeeker: failed open: unexpected status code https://H/v2/a/blobs/sha256:0: 500 Internal Server Error",
			"error from registry: not now",
		}, RegistryBusy, Retry},
		{"blob missing", []string{
			"error pulling image configuration: download failed after attempts=1: unknown blob",
			"failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:0 (application/octet-stream) from remote: not found",
		}, BlobMissing, Permanent},
		{"captive portal", []string{
			"error unmarshalling content: invalid character '<' looking for beginning of value",
			"failed to resolve: unexpected media type text/html for sha256:0: not found",
		}, NotARegistry, RetryFew},
		{"corrupt layer", []string{
			"filesystem layer verification failed for digest sha256:0",
			`failed commit on ref "layer-sha256:0": unexpected commit digest sha256:1, expected sha256:0: failed precondition`,
		}, Corrupt, RetryFew},
		{"cut short", []string{"unexpected EOF", "expected HTTP 206 from byte range request", "read tcp 192.0.2.2:5->192.0.2.1:443: read: connection reset by peer"}, CutShort, Retry},
		{"never answers", []string{
			`Get "https://H/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)`,
			`Get "https://H/v2/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
			`failed to do request: Head "https://H/v2/": net/http: timeout awaiting response headers`,
		}, TimedOut, Retry},
		{"disk full", []string{
			"failed to register layer: Error processing tar file(exit status 1): write /blob: no space left on device",
			"failed to extract layer sha256:0: write /x: no space left on device",
		}, DiskFull, RetryFew},
		{"engine stopped", []string{"failed to copy: failed to send write: EOF"}, EngineGone, Retry},
		{"name conflict", []string{`Conflict. The container name "/X" is already in use by container "ID". You have to remove (or rename) that container to be able to reuse that name.`}, NameTaken, Permanent},
		{"port taken", []string{
			"driver failed programming external connectivity on endpoint X (ID): Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
			"failed to set up container networking: driver failed programming external connectivity on endpoint X (ID): failed to bind host port 0.0.0.0:8080/tcp: address already in use",
			"driver failed programming external connectivity on endpoint X (ID): Bind for 0.0.0.0:8080 failed: port is already allocated",
		}, PortTaken, RetryFew},
		{"bridge vanished", []string{"failed to create endpoint X on network bridge: adding interface veth0 to bridge docker0 failed: could not find bridge docker0: route ip+net: no such network interface"}, NetworkMissing, RetryFew},
		{"apparmor", []string{"OCI runtime create failed: open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied"}, AppArmor, Permanent},
		{"bad reference", []string{"invalid reference format: repository name (X) must be lowercase"}, BadReference, Permanent},
		{"api version", []string{
			"client version 1.51 is too old. Minimum supported API version is 1.52, please upgrade your client to a newer version",
			"client version 1.99 is too new. Maximum supported API version is 1.51",
		}, APIVersion, Permanent},
		{"unreadable layer", []string{
			"failed to register layer: Error processing tar file(exit status 1): unexpected EOF",
			"failed to register layer: Error processing tar file(exit status 1): archive/tar: invalid tar header",
			"failed to extract layer sha256:0: unexpected EOF",
		}, ZstdLayers, Permanent},
		{"policy without its status", []string{
			"pull access denied for H/a, repository does not exist or may require 'docker login': denied: The image is not signed in Cosign.",
		}, PolicyDenied, Permanent},
		{"no name server", []string{
			`Get "https://H/v2/": dial tcp: lookup H on [::1]:53: read udp [::1]:4->[::1]:53: read: connection refused`,
			`Get "https://H/v2/": dial tcp: lookup H on 192.0.2.53:53: read udp 192.0.2.2:4->192.0.2.53:53: i/o timeout`,
			`Get "https://H/v2/": dial tcp: lookup H: Temporary failure in name resolution`,
			`failed to do request: Head "https://H/v2/": dial tcp: lookup H on 192.0.2.53:53: server misbehaving`,
			`Get "https://H/v2/": dial tcp: lookup H on 192.0.2.53:53: dial udp 192.0.2.53:53: connect: network is unreachable`,
		}, NoNameServer, Retry},
		{"not a registry", []string{
			`Head "https://H/v2/a/manifests/1": unable to decode token response: invalid character '<' looking for beginning of value`,
			"error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: \"<html>\\n<title>denied: unauthorized: blocked</title>\"",
			"error parsing HTTP 401 response body: invalid character 'U' looking for beginning of value: \"unauthorized: log in to the network\"",
			"error parsing HTTP 404 response body: invalid character 'p' after top-level value: \"404 page not found\"",
			"unexpected status from HEAD request to https://H/v2/a/manifests/1: 403 Forbidden: <!DOCTYPE html>\n<html><body>denied: blocked</body></html>",
			"failed to fetch anonymous token: unexpected status from GET request to https://T/token: 401 Unauthorized: <HTML><BODY>log in</BODY></HTML>",
			"unsupported manifest media type and no default available: text/html",
			"unknown: 404 page not found",
		}, NotARegistry, RetryFew},
		{"passing refusals in pages and texts", []string{
			"error parsing HTTP 503 response body: invalid character '<' looking for beginning of value: \"<html>denied: unauthorized: 401 Unauthorized</html>\"",
			"unexpected status from HEAD request to https://H/v2/a/manifests/1: 502 Bad Gateway: <html>unauthorized: denied</html>",
			"unexpected status from GET request to https://H/v2/: 530 <none>: unauthorized: origin DNS error",
		}, RegistryBusy, Retry},
		{"429 in text", []string{
			"error parsing HTTP 429 response body: invalid character 'T' looking for beginning of value: \"Too many requests. unauthorized: slow down\"",
			"failed to fetch anonymous token: unexpected status from GET request to https://T/token: 429 Too Many Requests: denied: later",
			"You have reached your unauthenticated pull rate limit. denied: https://docs.example",
		}, RateLimited, Retry},
		{"policy", []string{
			"unknown: current image without vulnerability scanning cannot be pulled due to configured policy in 'Prevent images'",
			"unexpected status from HEAD request to https://H/v2/a/manifests/1: 412 Precondition Failed",
			"error parsing HTTP 412 response body: invalid character 'd' looking for beginning of value: \"denied: policy\"",
		}, PolicyDenied, Permanent},
		{"expired cloud token", []string{
			"denied: Your authorization token has expired. Reauthenticate and try again.",
			"pull access denied for H/a: denied: Your Authorization Token has expired",
		}, Credential401, Permanent},
		{"proxy wants a login", []string{
			"error parsing HTTP 407 response body: invalid character '<' looking for beginning of value: \"<html>denied:</html>\"",
			"unexpected status from HEAD request to https://H/v2/: 407 Proxy Authentication Required",
			`Get "https://H/v2/": proxyconnect tcp: Proxy Authentication Required`,
			`Get "https://H/v2/": Proxy Authentication Required`,
		}, ProxyRefused, RetryFew},
		{"a chart", []string{
			`Encountered remote "application/vnd.cncf.helm.config.v1+json"(unknown) when fetching`,
			"unsupported media type application/vnd.cncf.helm.config.v1+json",
			"missing signature key",
		}, NotAnImage, Permanent},
		{"zstd layers", []string{"failed to register layer: Error processing tar file(exit status 1): archive/tar: invalid tar header"}, ZstdLayers, Permanent},
		{"never seen", []string{"the moon is full"}, Unknown, RetryFew},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, text := range test.texts {
				for how, err := range map[string]error{
					"answer": fmt.Errorf("Error response from daemon: %s: %w", text, errdefs.ErrInternal),
					"stream": &streamError{text},
				} {
					if how == "answer" { // the sentinel's text is not the engine's
						err = &textError{text: text, cause: errdefs.ErrInternal}
					}
					if got := classify(err); got != test.want {
						t.Errorf("%s %q: kind %q, want %q", how, text, got, test.want)
					}
				}
			}
			if got := test.want.Verdict(); got != test.verdict {
				t.Errorf("verdict %d, want %d", got, test.verdict)
			}
		})
	}
}

// TestEveryDialectRowIsReachable: a row that an earlier one hides is dead.
func TestEveryDialectRowIsReachable(t *testing.T) {
	for _, d := range dialects() {
		if got := fromText(strings.Join(d.words, " … ")); got != d.kind {
			t.Errorf("row %q is hidden by an earlier row: kind %q, want %q", d.words, got, d.kind)
		}
	}
}

func TestStreamSumsLayersAndReturnsErrors(t *testing.T) {
	const pull = `{"status":"Pulling from a","id":"1"}
{"status":"Pulling fs layer","progressDetail":{},"id":"aa"}
{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"aa"}
{"status":"Downloading","progressDetail":{"current":20,"total":50},"id":"bb"}
{"status":"Downloading","progressDetail":{"current":20,"total":50},"id":"bb"}
{"status":"Download complete","progressDetail":{},"id":"aa"}
{"status":"Extracting","progressDetail":{"current":5,"total":100},"id":"aa"}
{"status":"Already exists","progressDetail":{},"id":"cc"}
`
	var got []Progress
	if err := readStream(strings.NewReader(pull), func(p Progress) { got = append(got, p) }); err != nil {
		t.Fatal(err)
	}
	want := []Progress{
		{0, 0, 0, 1}, {0, 0, 0, 2}, {10, 100, 10, 3}, {30, 150, 30, 4}, {120, 150, 30, 5}, {120, 150, 35, 6}, {120, 150, 35, 7},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	for _, test := range []struct{ name, stream, want string }{
		{"error detail", pull + `{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}`, "unexpected EOF"},
		{"error alone", `{"error":"boom"}`, "boom"},
		{"cut in a message", pull + `{"status":`, "unexpected EOF"},
	} {
		err := readStream(strings.NewReader(test.stream), func(Progress) {})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
	if kind := classify(readStream(strings.NewReader(`{"status":`), func(Progress) {})); kind != EngineGone {
		t.Errorf("a stream cut by the engine is %q, want %q", kind, EngineGone)
	}
	if err := readStream(strings.NewReader(`{"error":"unexpected EOF"}`), func(Progress) {}); classify(err) != CutShort {
		t.Errorf("a cut transfer that the engine reports is %q, want %q", classify(err), CutShort)
	}
}

// TestStallRule: the 29 line repeats its counters each 100 ms with nothing
// moving, the older ones are silent for a minute on a slow link that moves.
func TestStallRule(t *testing.T) {
	for _, test := range []struct {
		name  string
		every time.Duration
		moves bool
		rate  int64 // bytes a second that the network receives; -1: it cannot be read
		want  bool
	}{
		{"chatter without movement", 100 * time.Millisecond, false, 0, true},
		{"a minute of silence between movements", time.Minute, true, 0, false},
		{"silence", time.Hour, true, 0, true},
		{"silence, no counters", time.Hour, true, -1, true},
		// 512 KiB at 1 KiB/s, between two messages of Engine 20.10.
		{"silence of a link that receives", 512 * time.Second, true, 1 << 10, false},
		{"silence and a little chatter of the network", time.Hour, true, 100, true},
		{"silence in a busy network", time.Hour, true, 10 << 20, true},
		{"chatter in a busy network", 100 * time.Millisecond, false, 10 << 20, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stalled := make(chan struct{})
				w := newStallWatch(StallLimit, receiving(test.rate), func(time.Duration) { close(stalled) })
				defer w.stop()
				w.progress(Progress{Work: 1})
				ticker := time.NewTicker(test.every)
				defer ticker.Stop()
				end := time.After(30 * time.Minute)
				for work := int64(2); ; work++ {
					select {
					case <-stalled:
						if !test.want {
							t.Error("given up, want it to continue")
						}
						return
					case <-ticker.C:
						if test.moves {
							w.progress(Progress{Work: work})
						} else {
							w.progress(Progress{Work: 1})
						}
					case <-end:
						if test.want {
							t.Error("continued, want it given up")
						}
						return
					}
				}
			})
		})
	}
}

// receiving is a network that receives at that rate from now on.
func receiving(rate int64) func() (int64, error) {
	began := time.Now()
	return func() (int64, error) {
		if rate < 0 {
			return 0, os.ErrNotExist
		}
		return 1<<40 + int64(time.Since(began).Seconds()*float64(rate)), nil
	}
}

// TestReceivedBytes: what containers send each other is not counted.
func TestReceivedBytes(t *testing.T) {
	const table = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1000000      10    0    0    0     0          0         0  1000000      10    0    0    0     0       0          0
  eth0:   2000       20    0    0    0     0          0         0     300       3    0    0    0     0       0          0
  eth1:30        20    0    0    0     0          0         0     300       3    0    0    0     0       0          0
docker0: 4000000      10    0    0    0     0          0         0        0       0    0    0    0     0       0          0
veth12ab: 4000000      10    0    0    0     0          0         0        0       0    0    0    0     0       0          0
br-0123: 4000000      10    0    0    0     0          0         0        0       0    0    0    0     0       0          0
`
	if got, err := sumReceived([]byte(table)); got != 2030 || err != nil {
		t.Errorf("got %d, %v, want 2030", got, err)
	}
	if got, err := sumReceived([]byte("eth0: x y\n")); err == nil {
		t.Errorf("got %d of a table that cannot be read", got)
	}
	if _, err := received(); err != nil {
		t.Errorf("this machine: %v", err)
	}
}

func TestClassifyStructuredFacts(t *testing.T) {
	c, err := New("unix://" + filepath.Join(t.TempDir(), "none.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Connect(t.Context()); KindOf(err) != EngineAbsent || KindOf(err).Verdict() != Retry {
		t.Errorf("no socket: %v is %q", err, KindOf(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Connect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if kind := classify(fmt.Errorf("read: %w", io.EOF)); kind != EngineGone {
		t.Errorf("EOF is %q", kind)
	}
}

// TestOnlyOldEnginesLackZstd: the same words of a newer engine mean another thing.
func TestOnlyOldEnginesLackZstd(t *testing.T) {
	for api, want := range map[string]Kind{"1.41": ZstdLayers, "1.42": BadLayer, "1.45": BadLayer, "1.51": BadLayer} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Api-Version", api)
			if strings.HasSuffix(r.URL.Path, "/images/create") {
				_, _ = io.WriteString(w, `{"errorDetail":{"message":"archive/tar: invalid tar header"},"error":"archive/tar: invalid tar header"}`)
			}
		}))
		defer server.Close()
		c, err := New("tcp://" + strings.TrimPrefix(server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Pull(t.Context(), "reg.example/a:1", Credential{}, nil); KindOf(err) != want {
			t.Errorf("API %s: kind %q, want %q: %v", api, KindOf(err), want, err)
		}
	}
}
