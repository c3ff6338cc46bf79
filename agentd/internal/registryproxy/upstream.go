package registryproxy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/retryafter"
)

// Registry is an upstream and how to reach it.
type Registry struct {
	// Host is the registry as it is written in references to images, host or
	// host:port. It is reached over TLS, at any address.
	Host string
	// Credential returns what the registry wants. It is called for each use, so
	// that a changed file is seen. nil: pull without one.
	Credential func() (username string, secret contract.Secret, err error)
	// TokenHosts are hosts, beside Host, that the registry may name as its token
	// server; they get the credential.
	TokenHosts []string
	// BlobHosts are hosts that blobs may be redirected to although their
	// addresses are not public. They get no credential.
	BlobHosts []string
	// Roots are the authorities of the hosts above; nil: the system's.
	Roots *x509.CertPool
}

// upstream is a registry with its connections and what is known about it.
type upstream struct {
	registry Registry
	endpoint string // host:port
	own      *http.Transport
	blobs    map[string]bool // the hosts that are reached at any address, by host:port; token servers are not among them
	foreign  *http.Transport // for all others
	tokens   tokens
	refusals *refusals
	echoes   echoes
	now      func() time.Time
	patience time.Duration // for a manifest, and for a token

	manifests *semaphore.Weighted
}

// dockerHub is the name of a registry whose host has another name.
const dockerHub = "docker.io"

func newUpstream(r Registry, now func() time.Time, check control, patience time.Duration) *upstream {
	if r.Host == dockerHub {
		r.TokenHosts = append(slices.Clone(r.TokenHosts), "auth.docker.io")
	}
	u := &upstream{
		registry: r, endpoint: hostPort(r.Host), own: newTransport(r.Roots, nil), foreign: newTransport(nil, check),
		blobs: map[string]bool{}, refusals: newRefusals(), now: now, patience: patience, manifests: semaphore.NewWeighted(maxFetches),
	}
	if r.Host == dockerHub {
		u.endpoint = "registry-1.docker.io:443"
	}
	u.blobs[u.endpoint] = true
	for _, h := range r.BlobHosts {
		u.blobs[hostPort(h)] = true
	}
	return u
}

// hostPort returns host in lower case, with the port of https if it has none.
func hostPort(host string) string {
	host = strings.ToLower(host)
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "443")
}

func (u *upstream) isTokenHost(endpoint string) bool {
	return endpoint == u.endpoint || slices.ContainsFunc(u.registry.TokenHosts, func(h string) bool { return hostPort(h) == endpoint })
}

// cause is the kind of an upstream's failure.
type cause string

// The causes. Each has one answer to the guest and one hint to the operator.
const (
	causeCredential  cause = "credential" // the host's is refused or cannot be read
	causeMissing     cause = "missing"
	causeRange       cause = "range"
	causeLimited     cause = "limited"
	causeBusy        cause = "busy"
	causeUnreachable cause = "unreachable"
	causeTimeout     cause = "timeout"
	causeBad         cause = "bad-answer"
)

// Error is a failure of an upstream. Its text is for the log of the host; it
// holds no secret and no body.
type Error struct {
	Registry   string // host
	Err        error
	cause      cause
	retryAfter string
	// isRefusal: the registry denied the request, which is worth remembering.
	// isPassword: what it refused can be the password itself.
	isRefusal, isPassword bool
}

func (e *Error) Error() string { return "registry " + e.Registry + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// IsCredential reports whether the registry refused the host's credential.
func (e *Error) IsCredential() bool { return e.cause == causeCredential }

// IsTemporary reports whether a later try may succeed without a change.
func (e *Error) IsTemporary() bool {
	return slices.Contains([]cause{causeLimited, causeBusy, causeUnreachable, causeTimeout}, e.cause)
}

func (u *upstream) fail(c cause, format string, args ...any) *Error {
	return &Error{Registry: u.registry.Host, cause: c, Err: fmt.Errorf(format, args...)}
}

// answer returns the answer to the guest. An upstream's 401 and 403 are not
// passed on: the guest's own token is valid, and engines would ask for another
// login.
func (e *Error) answer(k kind) refusal {
	bad := refusal{status: http.StatusBadGateway, code: "UNKNOWN", retryAfter: e.retryAfter}
	switch e.cause {
	case causeMissing:
		if k == kindBlob {
			return refuseBlob
		}
		return refuseManifest
	case causeRange:
		return refuseRange
	case causeLimited:
		return refusal{status: http.StatusTooManyRequests, code: "TOOMANYREQUESTS", message: "registry " + e.Registry + " limits the rate of requests", retryAfter: e.retryAfter}
	case causeBusy:
		return refusal{status: http.StatusServiceUnavailable, code: "UNAVAILABLE", message: "registry " + e.Registry + " is not available now", retryAfter: e.retryAfter}
	case causeTimeout:
		bad.status, bad.message = http.StatusGatewayTimeout, "registry "+e.Registry+" does not answer in time"
	case causeUnreachable:
		bad.message = "registry " + e.Registry + " cannot be reached from the host"
	case causeCredential:
		bad.message = "registry " + e.Registry + " refuses the host's credential; the operator of the host must renew it (felhom-agentd registry check)"
	default:
		bad.message = "registry " + e.Registry + " gave an answer that is not valid; the host's log says which"
	}
	return bad
}

// maxRedirects bounds the redirects of one blob.
const maxRedirects = 5

// get asks for one path of a repository and follows redirects. The body of the
// answer, which is a success, must be closed.
func (u *upstream) get(ctx context.Context, method, repository, rest string, header http.Header) (*http.Response, error) {
	scope := "repository:" + repository + ":pull"
	at := &url.URL{Scheme: "https", Host: u.endpoint, Path: Prefix + repository + rest}
	if err := u.refusals.check(scope, false, u.sum, u.now()); err != nil {
		return nil, err
	}
	resp, err := u.getAuthorized(ctx, scope, method, at, header)
	if err != nil {
		return nil, u.remember(scope, err)
	}
	for range maxRedirects {
		if !isRedirect(resp) {
			return u.judge(resp, method, at)
		}
		discard(resp)
		if at, err = u.redirected(at, resp); err != nil {
			return nil, err
		}
		if resp, err = u.send(ctx, method, at, header, ""); err != nil {
			return nil, err
		}
		if isRefused(resp) {
			discard(resp)
			return nil, u.fail(causeBad, "%s, where it redirects to, answers %s", u.clip(at.Host), u.clip(resp.Status))
		}
	}
	discard(resp)
	return nil, u.fail(causeBad, "more than %d redirects", maxRedirects)
}

// getAuthorized asks with what is known of the registry's authentication, and
// once more with what its answer says.
func (u *upstream) getAuthorized(ctx context.Context, scope, method string, at *url.URL, header http.Header) (*http.Response, error) {
	auth, err := u.tokens.cached(u, scope)
	if err != nil {
		return nil, err
	}
	resp, err := u.try(ctx, scope, method, at, header, auth)
	if err != nil || !isRefused(resp) {
		return resp, err
	}
	discard(resp)
	if auth, err = u.tokens.renew(ctx, u, scope, auth, resp); err != nil {
		return nil, err
	}
	if resp, err = u.try(ctx, scope, method, at, header, auth); err != nil || !isRefused(resp) {
		return resp, err
	}
	discard(resp)
	u.tokens.drop(scope, auth)
	return nil, u.refusedScope("%s %s answers %s, with the credential that the host has", method, at.Path, u.clip(resp.Status))
}

func isRefused(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
}

func isRedirect(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirected returns where resp leads. The address of its name is checked when
// the connection is made.
func (u *upstream) redirected(from *url.URL, resp *http.Response) (*url.URL, error) {
	to, err := from.Parse(resp.Header.Get("Location"))
	// The location may be signed: neither it nor the parser's error is shown.
	switch {
	case err != nil || resp.Header.Get("Location") == "":
		return nil, u.fail(causeBad, "redirects to a location that is not a URL")
	case to.Scheme != "https":
		return nil, u.fail(causeBad, "redirects to the scheme %q; only https is followed", u.clip(to.Scheme))
	case to.User != nil:
		return nil, u.fail(causeBad, "redirects to a URL with a user name")
	case to.Hostname() == "" || to.Opaque != "":
		return nil, u.fail(causeBad, "redirects to a URL without a host")
	}
	to.Fragment, to.RawFragment = "", ""
	return to, nil
}

// send sends one request to the registry, or without auth to where it redirects.
func (u *upstream) send(ctx context.Context, method string, at *url.URL, header http.Header, auth string) (*http.Response, error) {
	transport := u.foreign
	if u.blobs[hostPort(at.Host)] {
		transport = u.own
	}
	return u.sendOver(ctx, transport, method, at, header, auth)
}

func (u *upstream) sendOver(ctx context.Context, transport *http.Transport, method string, at *url.URL, header http.Header, auth string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), http.NoBody)
	if err != nil {
		return nil, u.fail(causeBad, "the location is not a URL")
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "felhom-agentd")
	if auth != "" {
		req.Header.Set("Authorization", auth)
		u.echoes.add(auth)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, u.unreached(ctx, at.Host, err)
	}
	return resp, nil
}

// unreached gives an error of the transport its cause. The text of net/http may
// hold what the peer sent, so it is clipped; it holds no header of the request.
func (u *upstream) unreached(ctx context.Context, host string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c := causeUnreachable
	var timeout net.Error
	_, isNet := errors.AsType[*net.OpError](err)
	isCut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case errors.Is(err, errForbiddenAddress):
		c = causeBad
		err = fmt.Errorf("%w: name the host in blob_hosts if it is yours", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		c = causeTimeout
	case !isNet && !isCut:
		c = causeBad // a header that is too large, a certificate, a malformed answer
	}
	return u.fail(c, "%s: %s", u.clip(host), u.clip(err.Error()))
}

// clip bounds and cleans a text that the upstream may have made.
func clip(s string) string {
	const most = 300
	s = strings.ToValidUTF8(s, "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Trim(strconv.QuoteToGraphic(s), `"`)
}

// judge returns resp if it is a success, and else an error.
func (u *upstream) judge(resp *http.Response, method string, at *url.URL) (*http.Response, error) {
	what := method + " " + at.Path
	if hostPort(at.Host) != u.endpoint {
		what = at.Host // a signed path is a secret
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	discard(resp)
	return nil, u.failed(resp, what)
}

// failed returns the fault that the status of an answer means.
func (u *upstream) failed(resp *http.Response, what string) *Error {
	err := u.fail(causeBad, "%s answers %s", u.clip(what), u.clip(resp.Status))
	switch resp.StatusCode {
	case http.StatusNotFound:
		err.cause = causeMissing
	case http.StatusRequestedRangeNotSatisfiable:
		err.cause = causeRange
	case http.StatusTooManyRequests:
		err.cause, err.retryAfter = causeLimited, retryAfter(resp)
	case http.StatusServiceUnavailable:
		err.cause, err.retryAfter = causeBusy, retryAfter(resp)
	}
	return err
}

// maxRetryAfter bounds how long an upstream may keep a guest waiting.
const maxRetryAfter = time.Hour

// retryAfter returns the header in seconds, "" if it is not valid.
func retryAfter(resp *http.Response) string {
	wait, ok := retryafter.Parse(resp.Header.Get("Retry-After"), time.Now(), maxRetryAfter)
	if !ok {
		return ""
	}
	return strconv.Itoa(max(int(wait/time.Second), 1))
}

// discard closes an answer whose body is not used. A short rest is read, so
// that the connection can be used again.
func discard(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // after a longer rest the connection is closed
	_ = resp.Body.Close()                         // nothing of it is used
}

func (u *upstream) close() {
	u.own.CloseIdleConnections()
	u.foreign.CloseIdleConnections()
}
