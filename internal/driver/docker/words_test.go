package docker

import (
	"io"
	"net"
	"testing"

	"github.com/containerd/errdefs"
)

// TestWordsOfOthers holds texts that other registries, proxies, firewalls and
// engines are known to give, as engines pass them on.
func TestWordsOfOthers(t *testing.T) {
	for _, test := range []struct {
		name    string
		texts   []string
		want    Kind
		verdict Verdict
	}{
		{"policy of other registries", []string{
			"unknown: The image is not signed in Notary.",
			"pull access denied for H/a, repository does not exist or may require 'docker login': denied: REQUESTED ITEM IS QUARANTINED",
			"unknown: Artifact download request rejected: a/1/manifest.json was not downloaded due to the download blocking policy configured in Xray for docker-local.",
			"unexpected status from HEAD request to https://H/v2/a/manifests/1: 451 Unavailable For Legal Reasons",
			"error parsing HTTP 451 response body: invalid character 'U' looking for beginning of value: \"Unavailable\"",
		}, PolicyDenied, Permanent},
		{"unknown image of other registries", []string{
			"unknown: artifact library/a:1 not found",
			"unknown: repository library/a not found",
			"unknown: resource not found: repo library/a, tag 1 not found",
			"unauthorized: project a not found: project a not found",
			"repository H/a not found: name unknown: The repository with name 'a' does not exist in the registry with id '1'",
		}, UnknownImage, RetryFew},
		{"credential of other registries", []string{
			"unknown: Authentication is required",
			"unknown: Bad credentials",
			"unknown: Token failed verification: expired",
			"denied: The security token included in the request is expired",
			"denied: the provided token is invalid or has expired",
			"error from registry: jwt expired: denied: no",
		}, Credential401, Permanent},
		{"right missing at other registries", []string{
			"unauthorized: unauthorized to access repository: library/a, action: pull: unauthorized to access repository: library/a, action: pull",
			"unknown: Forbidden",
		}, Denied, Permanent},
		{"credential missing at containerd", []string{"failed to handle basic auth because missing username or secret"}, NoCredential, Permanent},
		{"rate limits of other registries", []string{
			"unknown: Quota exceeded for quota metric 'Requests per project per region'",
			"toomanyrequests: <html><head><title>429 Too Many Requests</title></head></html>",
			"denied: too many requests",
			"denied: Rate exceeded",
			"denied: You have exceeded a secondary rate limit",
			"unauthorized: too many failed login attempts for username or IP address",
			"unknown: http status code: 429, body: {\"errors\":[{\"code\":\"TOOMANYREQUESTS\"}]}",
		}, RateLimited, Retry},
		{"refusals that pass", []string{
			"pull access denied for H/a, repository does not exist or may require 'docker login': denied: this registry is in maintenance mode",
			"unauthorized: the account is temporarily locked",
			"denied: please try again later",
			"unexpected status from HEAD request to https://H/v2/a/manifests/1: 408 Request Timeout",
			"unexpected status from HEAD request to https://H/v2/a/manifests/1: 425 Too Early",
			"received unexpected HTTP status: 507 Insufficient Storage",
		}, RegistryBusy, Retry},
		// A cache in front of another registry passes on what it met itself.
		{"faults of the registry in its own words", []string{
			`error from registry: Get "https://up/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
			"error from registry: dial tcp: lookup up on 192.0.2.53:53: no such host",
			"error from registry: write /data/a: no space left on device",
		}, RegistryBusy, Retry},
		{"a path named like a refusal", []string{
			"pull access denied for H/maintenance, repository does not exist or may require 'docker login': denied: no",
		}, Denied, Permanent},
		{"connection ended", []string{
			`Get "https://H/v2/": EOF`,
			`failed to do request: Head "https://H/v2/a/manifests/1": EOF`,
			`Head "https://H/v2/": http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""`,
			"http2: client connection lost",
			"stream error: stream ID 5; INTERNAL_ERROR; received from peer",
			"write tcp 192.0.2.2:5->192.0.2.1:443: write: broken pipe",
			`failed commit on ref "layer-sha256:0": unexpected commit size 12, expected 20: failed precondition`,
		}, CutShort, Retry},
		{"no answer", []string{
			`Get "https://H/v2/": dial tcp 192.0.2.1:443: connect: connection timed out`,
			`Get "https://H/v2/": context deadline exceeded`,
		}, TimedOut, Retry},
		{"no way", []string{
			`Get "https://H/v2/": dial tcp [2001:db8::1]:443: connect: cannot assign requested address`,
			`Get "https://H/v2/": dial tcp [2001:db8::1]:443: socket: address family not supported by protocol`,
			`Get "https://H/v2/": dial tcp [fe80::1]:443: connect: invalid argument`,
			`Get "https://H/v2/": dial tcp 192.0.2.1:443: connect: host is down`,
			`Get "https://H/v2/": dial tcp 192.0.2.1:443: connect: network is down`,
			`Get "https://H/v2/": dial tcp 192.0.2.1:443: connect: permission denied`,
			`Get "https://H/v2/": dial tcp 192.0.2.1:443: connect: operation not permitted`,
		}, Unreachable, Retry},
		{"other words for no name", []string{
			"dial tcp: lookup H: Name or service not known",
			"dial tcp: lookup H: Name does not resolve",
			"dial tcp: lookup H: No address associated with hostname",
		}, NoName, RetryFew},
		{"other words for no name server", []string{"dial tcp: lookup H: Try again"}, NoNameServer, Retry},
		{"handshake refused", []string{
			`Get "https://H/v2/": remote error: tls: handshake failure`,
			`Get "https://H/v2/": remote error: tls: unrecognized name`,
			`Get "https://H/v2/": remote error: tls: certificate required`,
			`Get "https://H/v2/": tls: server selected unsupported protocol version 301`,
		}, TLSRefused, RetryFew},
		{"no TLS, no HTTP", []string{
			`Get "https://H/v2/": tls: first record does not look like a TLS handshake`,
			`Get "https://H/v2/": tls: oversized record received with length 20527`,
			`Get "http://H/v2/": net/http: HTTP/1.x transport connection broken: malformed HTTP response "\x15\x03\x01"`,
			`Get "https://H/v2/": stopped after 10 redirects`,
			`Head "https://H/v2/a/manifests/1": 302 response missing Location header`,
			"failed parsing content-type: mime: no media type",
			"authorization server did not include a token in the response",
			"unsupported manifest media type and no default available: application/json",
		}, NotARegistry, RetryFew},
		{"proxy down", []string{
			`Get "https://H/v2/": proxyconnect tcp: dial tcp 192.0.2.1:3128: connect: connection refused`,
			`Get "https://H/v2/": proxyconnect tcp: dial tcp: lookup proxy on 192.0.2.53:53: no such host`,
			`Get "https://H/v2/": proxyconnect tcp: EOF`,
			`Get "https://H/v2/": Bad Gateway`,
			`failed to do request: Head "https://H/v2/a/manifests/1": Service Unavailable`,
		}, ProxyDown, Retry},
		{"proxy says no", []string{
			`Get "https://H/v2/": Forbidden`,
			`Get "https://H/v2/": proxyconnect tcp: Proxy Authentication Required`,
		}, ProxyRefused, RetryFew},
		{"other system", []string{
			`image operating system "windows" cannot be used on this platform: operating system is not supported`,
			`cannot download image with operating system "windows" when requesting "linux"`,
		}, WrongPlatform, Permanent},
		{"artifacts", []string{
			"layers from manifest don't match image configuration",
			"invalid rootfs in image configuration",
			"unsupported manifest format",
			"unsupported manifest media type and no default available: application/vnd.oci.artifact.manifest.v1+json",
			`AI models are not yet supported by the Engine, please use "docker model pull/run" instead`,
		}, NotAnImage, Permanent},
		{"schema 1", []string{
			"Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author of H/a:1 to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2.",
			"[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will be removed in an upcoming release.",
			`not implemented: media type "application/vnd.docker.distribution.manifest.v1+prettyjws" is no longer supported since containerd v2.0, please rebuild the image as "application/vnd.oci.image.manifest.v1+json"`,
		}, OldImage, Permanent},
		{"corrupt manifest", []string{
			"image config verification failed for digest sha256:0",
			"manifest verification failed for digest sha256:0",
			`failed commit on ref "manifest-sha256:0": failed size validation: 100 != 200: failed precondition`,
		}, Corrupt, RetryFew},
		{"ids that the guest does not map", []string{
			"failed to register layer: lchown /x: invalid argument",
			`failed to register layer: ApplyLayer exit status 1 stdout:  stderr: failed to Lchown "/x" for UID 1000560000, GID 0 (try increasing the number of subordinate IDs in /etc/subuid and /etc/subgid): lchown /x: invalid argument`,
		}, UnmappedIDs, Permanent},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, text := range test.texts {
				if got := classify(&streamError{text}); got != test.want {
					t.Errorf("%q: kind %q, want %q", text, got, test.want)
				}
			}
			if got := test.want.Verdict(); got != test.verdict {
				t.Errorf("verdict %d, want %d", got, test.verdict)
			}
		})
	}
}

// TestProbeOfStrangePorts: what answers the probe is neither a registry nor HTTP.
func TestProbeOfStrangePorts(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		want         Kind
	}{
		{"another protocol", "SSH-2.0-x\r\n", NotARegistry},
		{"alert", "\x15\x03\x03\x00\x02\x02\x28", TLSRefused}, // handshake_failure
		{"nothing", "", CutShort},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = c.Write([]byte(test.answer))
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			_, _ = io.Copy(io.Discard, c) // a close before all is read would reset the connection
		}()
		if got := ProbeRegistry(t.Context(), t.TempDir(), l.Addr().String()); got.Kind != test.want || got.Err == nil {
			t.Errorf("%s: %+v, want kind %q", test.name, got, test.want)
		}
		_ = l.Close()
		<-done
	}
}

// TestClassOfRegistryRefusals: the 29 line gives the registry's text, which may be
// anything, and the class of its code.
func TestClassOfRegistryRefusals(t *testing.T) {
	for _, test := range []struct {
		text  string
		class error
		want  Kind
	}{
		{"error from registry: requested access to the resource is refused", errdefs.ErrPermissionDenied, Denied},
		{"error from registry: the registry is in maintenance mode", errdefs.ErrPermissionDenied, RegistryBusy},
		{"error from registry: the account is temporarily locked", errdefs.ErrUnauthenticated, RegistryBusy},
		{"error from registry: no", errdefs.ErrUnauthenticated, Credential401},
		{"error from registry: slow down", errdefs.ErrResourceExhausted, RateLimited},
		{"authorization denied by plugin x", errdefs.ErrPermissionDenied, Unknown},
	} {
		if got := classify(&textError{text: test.text, cause: test.class}); got != test.want {
			t.Errorf("%q: kind %q, want %q", test.text, got, test.want)
		}
	}
}
