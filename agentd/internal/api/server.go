package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
)

// Guests is the part of the store that the API needs.
type Guests interface {
	// Authenticate returns guests.ErrUnknownToken for a token that is not valid;
	// any other error means that the store cannot be read.
	Authenticate(tok token.Token) (guests.Match, error)
	MarkUsed(ctx context.Context, tok token.Token) error
	AddReport(ctx context.Context, vmid int, r contract.Report) (isNews bool, err error)
}

// Origin proves from where a request comes. The package's own error for a source
// that is not the guest's is [*origin.Mismatch].
type Origin interface {
	Check(ctx context.Context, source netip.Addr, vmid int) error
}

// Options of a [Server]. All but Storage, Registry and Origin are required.
type Options struct {
	Guests           Guests
	Storage          driver.Storage // nil: the answer is "unknown"
	Registry         Registry       // nil: none, and /v2/ is not a path of the API
	Origin           Origin         // nil: a token is accepted from everywhere
	EnforceOrigin    bool           // else a source that is not the guest's is an [Event] alone
	HostID           string
	Version          string
	Hosts            []string // valid Host headers, such as "192.0.2.7:8443"
	ReportsPerMinute int      // per guest
	Now              func() time.Time
	Event            func(Event) // called from many goroutines
	// Served is called after each answer, from many goroutines; it may be nil. An
	// answer that net/http gives by itself, to what is not HTTP, is not among them.
	Served func(Served)
}

// Server answers the local API. It implements [http.Handler].
type Server struct {
	guests   Guests
	meter    *meter   // nil: no figures
	registry Registry // nil: none
	origin   Origin   // nil: not looked at
	enforce  bool
	hostID   string
	version  string
	hosts    atomic.Pointer[map[string]bool]
	now      func() time.Time
	event    func(Event)
	served   func(Served) // nil: not asked for
	routes   []Route

	failures *buckets[netip.Prefix]
	denials  *buckets[int] // bounds log lines, refuses nothing
	reports  *buckets[int]
	origins  *buckets[int] // bounds log lines, refuses nothing

	mu        sync.Mutex
	retryAt   map[int]time.Time // guests whose first use could not be noted
	busySince map[int]time.Time // guests whose first use the store was too busy for
}

// The limits on wrong tokens of one source: ten, then one in a second.
const (
	failureBurst     = 10
	failurePerSecond = 1
)

// The lines on requests of one guest that come from elsewhere: five, then one a
// minute. A guest behind a router causes one with each request.
const (
	originBurst     = 5
	originPerSecond = 1.0 / 60
)

// retryAfter is in seconds, with each 503.
const retryAfter = "2"

// New returns a server.
func New(o Options) *Server {
	s := &Server{
		guests: o.Guests, registry: o.Registry, origin: o.Origin, enforce: o.EnforceOrigin, hostID: o.HostID, version: o.Version,
		now: o.Now, event: o.Event, served: o.Served,
		failures: newBuckets[netip.Prefix](failurePerSecond, failureBurst),
		denials:  newBuckets[int](failurePerSecond, failureBurst),
		reports:  newBuckets[int](float64(o.ReportsPerMinute)/60, o.ReportsPerMinute),
		origins:  newBuckets[int](originPerSecond, originBurst),
		retryAt:  map[int]time.Time{}, busySince: map[int]time.Time{},
	}
	s.SetHosts(o.Hosts)
	if o.Storage != nil {
		s.meter = newMeter(o.Storage, o.Now)
	}
	s.routes = s.Routes()
	return s
}

// SetHosts replaces what a Host header may say. It may be called while requests
// are served.
func (s *Server) SetHosts(hosts []string) {
	allowed := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		allowed[strings.ToLower(h)] = true
	}
	s.hosts.Store(&allowed)
}

// serve takes one request through gate, token, route and right to its
// handler. Until the token is found good, nothing of the answer depends on
// anything but the request's headers.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if cause := recover(); cause != nil {
			// Handled here because net/http would print it without a limit.
			s.event(Event{Kind: HandlerFailed, Err: fmt.Errorf("panic: %v\n%s", cause, debug.Stack())})
			refusedInternal.write(w)
		}
	}()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// Only a client that shows a valid token keeps its connection.
	h.Set("Connection", "close")
	if refused := s.gate(r); refused != nil {
		refused.write(w)
		return
	}
	tok, match, ok := s.authenticate(w, r)
	if !ok {
		return
	}
	vmid := match.VMID
	if refused := s.elsewhere(r, match, tok); refused != nil {
		refused.write(w)
		return
	}
	// The context of a connection that has ended is that of all its later requests too.
	if listener.FromContext(r.Context()).Trust(vmid) && r.Context().Err() == nil {
		h.Del("Connection")
	}
	route, own, ok := s.route(w, r, vmid)
	if !ok {
		return
	}
	if !own {
		if s.denials.allow(vmid, s.now()) {
			s.event(Event{Kind: OtherGuestDenied, VMID: vmid, Source: sourceOf(r).Addr()})
		}
		refusedOtherGuest.write(w)
		return
	}
	if route.serve != nil {
		route.serve(w, r, s.puller(tok, match))
		return
	}
	if match.FirstUse && route.TakesUp {
		if !s.markUsed(r.Context(), tok) {
			unavailable(w)
			return
		}
	}
	body, refused := readBody(w, r, route.MaxBody)
	if refused != nil {
		refused.write(w)
		return
	}
	out, err := route.handle(r.Context(), request{vmid: vmid, body: body})
	if err != nil {
		// A busy store is not a mistake, and each guest of a crowd would cause a line.
		if !errors.Is(err, guests.ErrBusy) && s.denials.allow(vmid, s.now()) {
			s.event(Event{Kind: HandlerFailed, VMID: vmid, Err: err})
		}
		unavailable(w)
		return
	}
	if out.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(out.retryAfter.Seconds()))))
	}
	if problem, ok := out.value.(contract.Problem); ok {
		noteRefusal(w, problem.Error)
	}
	write(w, out.status, out.value)
}

// gate refuses what no guest sends: a name that is not this agent's (DNS
// rebinding), and any request of a browser or a proxy.
func (s *Server) gate(r *http.Request) *refusal {
	if !(*s.hosts.Load())[strings.ToLower(r.Host)] {
		return &refusedHost
	}
	for name := range r.Header {
		switch name {
		case "Origin", "Referer", "Via", "Forwarded":
			return &refusedRelayed
		}
		if strings.HasPrefix(name, "X-Forwarded-") {
			return &refusedRelayed
		}
	}
	return nil
}

func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (tok token.Token, m guests.Match, ok bool) {
	claimed := s.claimed(r)
	tok, err := token.Parse(claimed)
	if err == nil {
		m, err = s.guests.Authenticate(tok)
		if err == nil {
			return tok, m, true
		}
		if !errors.Is(err, guests.ErrUnknownToken) {
			if s.failures.allow(sourceOf(r), s.now()) {
				s.event(Event{Kind: StoreFailed, Err: err})
			}
			unavailable(w)
			return tok, m, false
		}
	}
	// Engines ask a registry without a token first, to learn how to show one.
	if s.isRegistry(r) && len(r.Header.Values("Authorization")) == 0 {
		w.Header().Set("WWW-Authenticate", s.challenge(r))
		refusedToken.write(w)
		return tok, m, false
	}
	// Counted by source and not by claimed guest: otherwise a neighbour could
	// lock a guest out in its name. Counted only after the token was checked, so
	// that a valid one is never refused because of another client's invalid
	// ones.
	if !s.failures.allow(sourceOf(r), s.now()) {
		w.Header().Set("Retry-After", "1")
		refusedFailures.write(w)
		return tok, m, false
	}
	e := Event{Kind: TokenRefused, Source: sourceOf(r).Addr()}
	if claimed != "" {
		e.Digest = token.Sum(claimed).Short()
	}
	if ended, ok := errors.AsType[*guests.EndedError](err); ok {
		e.Kind, e.VMID, e.Err = EndedTokenUsed, ended.VMID, ended
	}
	s.event(e)
	w.Header().Set("WWW-Authenticate", s.challenge(r))
	refusedToken.write(w)
	return tok, m, false
}

// elsewhere refuses a valid token that does not come from its own guest.
func (s *Server) elsewhere(r *http.Request, m guests.Match, tok token.Token) *refusal {
	if s.origin == nil {
		return nil
	}
	var source netip.Addr
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		source = at.Addr()
	}
	err := s.origin.Check(r.Context(), source, m.VMID)
	if err == nil {
		return nil
	}
	if s.origins.allow(m.VMID, s.now()) {
		e := Event{Kind: ElsewhereSeen, VMID: m.VMID, Source: source, Digest: tok.Digest().Short(), Err: err}
		if s.enforce {
			e.Kind = ElsewhereDenied
		}
		s.event(e)
	}
	mismatch, ok := errors.AsType[*origin.Mismatch](err)
	switch {
	case !s.enforce:
		return nil
	case ok && !mismatch.IsTemporary():
		return &refusedOrigin
	}
	return &refusedUnavailable
}

// route finds the row. Only guests get to know what is wrong with a path or
// method. own reports whether the row's right is met.
func (s *Server) route(w http.ResponseWriter, r *http.Request, vmid int) (row Route, own, ok bool) {
	var allowed []string
	for _, row := range s.routes {
		inPath, ok := row.match(r.URL.EscapedPath())
		if !ok {
			continue
		}
		if row.Method != r.Method && row.serve == nil {
			allowed = append(allowed, row.Method)
			continue
		}
		noteRoute(w, row)
		own := row.Right == AnyGuest || row.Right == OwnImages || row.Right == OwnGuest && inPath == strconv.Itoa(vmid)
		return row, own, true
	}
	if allowed != nil {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		refusedMethod.write(w)
		return Route{}, false, false
	}
	refusedPath.write(w)
	return Route{}, false, false
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *refusal) {
	if limit == 0 {
		return nil, nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, &refusedContentType
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, isLarge := errors.AsType[*http.MaxBytesError](err); isLarge {
		return nil, &refusedTooLarge
	}
	if err != nil {
		return nil, &refusedBody
	}
	return body, nil
}

// bearer returns the token of exactly one Authorization header, or "".
func bearer(headers []string) string {
	if len(headers) != 1 {
		return ""
	}
	scheme, tok, found := strings.Cut(headers[0], " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return tok
}

func sourceOf(r *http.Request) netip.Prefix {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	return listener.SourceOf(addr.Addr())
}
