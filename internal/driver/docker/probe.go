package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/retryafter"
)

// Probe is the result of a direct request to a registry.
type Probe struct {
	Kind       Kind          // "" if the registry answers as it should
	RetryAfter time.Duration // the wait that it asked for; 0 if it did not
	Err        error         // nil if Kind is ""
}

// probeLimit bounds the probe: it must explain a failure and not cause one.
const probeLimit = 5 * time.Second

// ProbeRegistry asks https://HOST/v2/ without any credential, trusting what the
// engine trusts: the system's authorities and those in certsDir/HOST. Call it
// after a failure: Go's errors have types, while the engine's are text.
func ProbeRegistry(ctx context.Context, certsDir, host string) Probe {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities(certsDir, host), MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	httpClient := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/", nil)
	if err != nil {
		return Probe{Kind: BadReference, Err: err}
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return Probe{Kind: kindOfDial(err), Err: err}
	}
	_ = resp.Body.Close() // nothing of it is read
	wait, _ := retryafter.Parse(resp.Header.Get("Retry-After"), time.Now(), maxRetryAfter)
	p := Probe{RetryAfter: wait}
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests:
		p.Kind = RateLimited
	case code >= 500:
		p.Kind = RegistryBusy
	case code == http.StatusOK, code == http.StatusUnauthorized:
		if resp.Header.Get("Docker-Distribution-Api-Version") == "" && resp.Header.Get("Www-Authenticate") == "" {
			p.Kind = NotARegistry
		} else if realm := bearerRealm(resp.Header); code == http.StatusUnauthorized && realm != "" {
			return probeRealm(ctx, httpClient, realm, p)
		}
	case resp.Header.Get("Docker-Distribution-Api-Version") == "":
		p.Kind = NotARegistry
	}
	if p.Kind != "" {
		p.Err = fmt.Errorf("GET https://%s/v2/ answers %s", host, resp.Status)
	}
	return p
}

// probeRealm asks the token server, without any credential: a login page may
// answer only there, and engines report its 401 as a wrong credential. A
// failure to reach it means nothing.
func probeRealm(ctx context.Context, httpClient *http.Client, realm string, p Probe) Probe {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm, nil)
	if err != nil || req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return p
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return p
	}
	_ = resp.Body.Close()                                              // nothing of it is read
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // what is not valid is not a page
	// With its own challenge it is a web server that protects the realm.
	if resp.StatusCode < 500 && kind == "text/html" && resp.Header.Get("Www-Authenticate") == "" {
		p.Kind = NotARegistry
		p.Err = fmt.Errorf("GET %s://%s%s answers %s with a page", req.URL.Scheme, req.URL.Host, req.URL.Path, resp.Status)
	}
	return p
}

// bearerRealm returns the URL that a registry names for tokens, "" for none.
func bearerRealm(header http.Header) string {
	for _, challenge := range header.Values("Www-Authenticate") {
		if found := realmWord().FindStringSubmatch(challenge); found != nil {
			return found[1]
		}
	}
	return ""
}

var realmWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)^\s*bearer\s.*?realm="([^"]+)"`) })

// ReachesDirectly reports whether the engine reaches the registry at host as
// ProbeRegistry does: over TLS that it checks, without a mirror and without a
// proxy. Otherwise, or if that is not known, a probe would test another way.
func (c *Client) ReachesDirectly(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	info, err := c.info(ctx)
	if err != nil || info.HTTPProxy != "" || info.HTTPSProxy != "" || info.RegistryConfig == nil {
		return false
	}
	if index, ok := info.RegistryConfig.IndexConfigs[host]; ok && index != nil && (!index.Secure || len(index.Mirrors) > 0) {
		return false
	}
	if host == "docker.io" {
		return false // the engine goes to another host for it, and maybe to a mirror
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return true // the probe reports it as well
	}
	for _, cidr := range info.RegistryConfig.InsecureRegistryCIDRs {
		for _, a := range addresses {
			if cidr != nil && (*net.IPNet)(cidr).Contains(a.Unmap().AsSlice()) {
				return false
			}
		}
	}
	return true
}

func kindOfDial(err error) Kind {
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		if !name.IsNotFound {
			return NoNameServer
		}
		return NoName
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return ClockOrExpiry
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return UntrustedTLS
	}
	if strings.Contains(err.Error(), "server gave HTTP response") { // net/http has no type for it
		return PlainHTTP
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return NotARegistry
	}
	if strings.Contains(err.Error(), "remote error: tls: ") {
		return TLSRefused
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.ENETDOWN), errors.Is(err, syscall.EHOSTDOWN):
		return Unreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return CutShort
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return TimedOut
	}
	return Unknown
}

// authorities returns those of the system and the engine's for this registry;
// with nil, Go uses only the system's.
func authorities(certsDir, host string) *x509.CertPool {
	files, err := filepath.Glob(filepath.Join(certsDir, host, "*.crt"))
	if err != nil || len(files) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			pool.AppendCertsFromPEM(data)
		}
	}
	return pool
}

// maxRetryAfter bounds how long a registry may keep a guest waiting.
const maxRetryAfter = time.Hour

// hostsFileVersion is the first major version of an engine that is known to read
// hosts.toml. 26.1 does not, although it can have containerd's store.
const hostsFileVersion = 28

// ReadsHostsFile reports whether the engine goes to registries by the hosts.toml
// files of certs.d: those with containerd's image store do, unless they are old.
func (c *Client) ReadsHostsFile(ctx context.Context) (bool, error) {
	info, err := c.info(ctx)
	if err != nil {
		return false, c.fault("ask the engine for its image store", err)
	}
	text, _, _ := strings.Cut(info.ServerVersion, ".")
	if major, err := strconv.Atoi(text); err == nil && major < hostsFileVersion {
		return false, nil // a build without a number is new
	}
	return usesContainerd(info), nil
}
