// Package registryproxy gives guests read-only access to the images that they
// are meant to run, without the registry's credential: call [New], then
// [Proxy.Serve] for each request below [Prefix] whose token was found good.
//
// The proxy parses the guest's request and makes its own from it; of the
// registry's answer it passes on only what is on a list. It trusts a registry
// with that registry's credential and with nothing else: a registry cannot
// choose who else gets the credential, which addresses the host connects to, or
// how much memory and time an answer takes.
package registryproxy

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
)

// Guest is the guest that asks.
type Guest struct {
	VMID int
	// IsValid reports whether the token that the request came with is still
	// valid. It is asked about once a second while a blob is under way.
	IsValid func() bool
}

// Pull is an answer that was given to a guest, for the audit. It holds no
// secret and nothing that an upstream wrote.
type Pull struct {
	VMID       int
	Repository string // with the registry's host
	Reference  string // tag or digest, as the guest asked
	Digest     string // "" where it is not known
	Bytes      int64  // of the body, as far as it was sent
	Status     int
	Duration   time.Duration
	IsCached   bool  // no byte came from the registry
	Err        error // why the answer ended early; nil: it did not
}

// ErrBusy is the error of Images that could not find out in time.
var ErrBusy = errors.New("the records could not be read in time")

// Options configure [New]. Images, Pulled, Failed and Now are required.
type Options struct {
	Registries []Registry
	// Images returns what a guest may pull, its controller's image first. With
	// [ErrBusy] the guest is asked to try again.
	Images func(ctx context.Context, vmid int) ([]Image, error)
	Cache  *blobcache.Cache // nil: no cache
	Pulled func(Pull)       // called from many goroutines
	// Failed gets what the operator should know: faults of registries and refusals.
	// Each kind comes at most once a minute for each registry or guest.
	Failed func(vmid int, err error)
	Now    func() time.Time
	Limits Limits // zero values: the defaults
}

// Proxy answers guests. Its methods may be called from many goroutines.
type Proxy struct {
	images func(context.Context, int) ([]Image, error)
	cache  *blobcache.Cache
	pulled func(Pull)
	failed func(int, error)
	now    func() time.Time
	limits Limits
	check  control
	tags   resolved // of the images that name one
	// anyTags are those that guests ask for of whole repositories: thousands, if
	// they like, which must not push out what others may still pull.
	anyTags resolved
	known   manifests
	absent  absent
	all     slots           // of all guests together
	serving context.Context // done after Stop
	stop    context.CancelFunc

	mu        sync.Mutex
	upstreams map[string]*upstream // by the registry's host
	guests    map[int]*guestLimits
	told      map[string]time.Time
}

// New returns a proxy. Close it after its last request has ended.
func New(o Options) *Proxy {
	p := &Proxy{
		images: o.Images, cache: o.Cache, pulled: o.Pulled, failed: o.Failed, now: o.Now, limits: o.Limits.withDefaults(), check: onlyPublic,
		known: manifests{limit: manifestsMax}, upstreams: map[string]*upstream{}, guests: map[int]*guestLimits{}, told: map[string]time.Time{},
	}
	p.serving, p.stop = context.WithCancel(context.Background())
	p.all = make(slots, p.limits.Total)
	for _, r := range o.Registries {
		p.upstreams[r.Host] = newUpstream(r, o.Now, p.check, p.limits.Answer)
	}
	return p
}

// Stop ends all requests under way, and those that come after it: guests ask
// again later, for the rest of a blob too. Call it once, before the server waits
// for its requests to end.
func (p *Proxy) Stop() { p.stop() }

// untilStop returns a context that Stop ends too, with errEnding as its cause.
func (p *Proxy) untilStop(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	forget := context.AfterFunc(p.serving, func() { cancel(errEnding) })
	return ctx, func() { forget(); cancel(nil) }
}

// Close closes the connections to registries that are idle.
func (p *Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.upstreams {
		u.close()
	}
}

// upstream returns the registry of a host that a configured image names. A
// registry without an entry is asked without a credential.
func (p *Proxy) upstream(host string) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.upstreams[host]
	if u == nil {
		u = newUpstream(Registry{Host: host}, p.now, p.check, p.limits.Answer)
		p.upstreams[host] = u
	}
	return u
}

// request is one that passed the grammar and the repository's rule.
type request struct {
	target
	guest    Guest
	method   string
	header   http.Header // of the guest; only Range is looked at
	images   []Image     // of the repository, on one registry
	upstream *upstream
	began    time.Time
}

func (r *request) name() string { return r.upstream.registry.Host + "/" + r.repository }

func (r *request) reference() string {
	if r.tag != "" {
		return r.tag
	}
	return r.digest.String()
}

func (r *request) wantsBody() bool { return r.method == http.MethodGet }

// Serve answers one request of a guest whose token is valid.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, g Guest) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuseMethod.write(w, true)
		return
	}
	withBody := r.Method == http.MethodGet
	t, ok := parsePath(r.URL.EscapedPath())
	if !ok {
		refusePath.write(w, withBody)
		return
	}
	if t.kind == kindPing {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "2")
		if withBody {
			_, _ = w.Write([]byte("{}")) // the guest may be gone
		}
		return
	}
	// Before the deadlines are extended: the server reads a body before it sends
	// the first byte, and a guest that does not send it would hold its slot.
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		refuseBody.write(w, withBody)
		return
	}
	if !p.limitsOf(g.VMID).requests.Allow() {
		refuseRate.write(w, withBody)
		return
	}
	p.extend(w)
	ctx, done := p.untilStop(r.Context())
	defer done()
	req := &request{target: t, guest: g, method: r.Method, header: r.Header, began: p.now()}
	allowed, err := p.images(ctx, g.VMID)
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errEnding):
		refuseEnding.write(w, withBody)
		return
	case errors.Is(err, ErrBusy): // not a mistake, and each guest of a crowd would cause a line
		refuseBusy.write(w, withBody)
		return
	default:
		p.notify(g.VMID, "records", err)
		refuseInternal.write(w, withBody)
		return
	}
	req.images = imagesOf(allowed, t.repository, namespace(r.URL.RawQuery))
	if len(req.images) == 0 {
		p.refuse(w, req, t.repository, errDenied)
		return
	}
	req.upstream = p.upstream(req.images[0].Host)
	switch err := p.serveAllowed(ctx, w, req); {
	case err == nil:
	case errors.Is(context.Cause(ctx), errEnding): // whatever it ended
		p.refuse(w, req, req.name(), errEnding)
	default:
		p.refuse(w, req, req.name(), err)
	}
}

// serveAllowed answers with what the guest may pull. An error means that nothing
// was sent.
func (p *Proxy) serveAllowed(ctx context.Context, w http.ResponseWriter, r *request) error {
	release, err := p.slot(ctx, r.guest.VMID)
	if err != nil {
		return err
	}
	defer release()
	if r.kind == kindManifest {
		return p.serveManifest(ctx, w, r)
	}
	return p.serveBlob(ctx, w, r)
}

// extend replaces the deadlines of the server, which are for small answers. A
// recorder has none.
func (p *Proxy) extend(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // an end of the read side would end the request
	_ = c.SetWriteDeadline(time.Now().Add(p.limits.Wait + 2*p.limits.Answer + p.limits.Stall))
}

// namespace returns the registry that an engine means. The rest of the query is
// not looked at.
func namespace(query string) string {
	values, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	return values.Get("ns")
}

// imagesOf returns the images of a repository on one registry: the registry
// that the guest names, or the first that has the repository.
func imagesOf(all []Image, repository, host string) []Image {
	var out []Image
	for _, i := range all {
		if i.Repository != repository || host != "" && i.Host != host {
			continue
		}
		if len(out) == 0 || out[0].Host == i.Host {
			out = append(out, i)
		}
	}
	return out
}

// refuse answers with what err means, if nothing was sent yet.
func (p *Proxy) refuse(w http.ResponseWriter, r *request, name string, err error) {
	answer := refuseInternal
	upstreamErr, isUpstream := errors.AsType[*Error](err)
	switch {
	case errors.Is(err, errEnding):
		answer = refuseEnding
	case errors.Is(err, errSlots):
		answer = refuseSlots
	case errors.Is(err, errDenied):
		answer = refuseAccess(name)
		p.notify(r.guest.VMID, "denied "+strconv.Itoa(r.guest.VMID), &DeniedError{Repository: name, Reference: r.reference()})
	case isUpstream:
		answer = upstreamErr.answer(r.kind)
		if upstreamErr.cause != causeMissing && upstreamErr.cause != causeRange {
			p.notify(r.guest.VMID, upstreamErr.Registry+" "+string(upstreamErr.cause), err)
		}
	case errors.Is(err, context.Canceled): // the guest is gone
	default:
		p.notify(r.guest.VMID, "internal", err)
	}
	// The end of a stream ends its deadline too. A recorder has none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(p.limits.Stall))
	answer.write(w, r.wantsBody())
}

// DeniedError is the error of a guest that asked for what it may not pull.
type DeniedError struct{ Repository, Reference string }

func (e *DeniedError) Error() string {
	return "asked for " + e.Repository + " (" + e.Reference + "), which it may not pull"
}

const (
	notifyEvery = time.Minute
	maxTold     = 1024
)

// notify passes a failure on, unless it has passed on one of the same kind a short time
// ago.
func (p *Proxy) notify(vmid int, kind string, err error) {
	now := p.now()
	p.mu.Lock()
	last, known := p.told[kind]
	isNew := !known || now.Sub(last) >= notifyEvery
	if isNew {
		if len(p.told) >= maxTold {
			clear(p.told)
		}
		p.told[kind] = now
	}
	p.mu.Unlock()
	if isNew {
		p.failed(vmid, err)
	}
}

func (p *Proxy) serveManifest(ctx context.Context, w http.ResponseWriter, r *request) error {
	m, err := p.allowedManifest(ctx, r.upstream, r.images, r.target)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", m.mediaType)
	h.Set("Content-Length", strconv.Itoa(len(m.body)))
	h.Set("Docker-Content-Digest", m.digest.String())
	h.Set("Etag", `"`+m.digest.String()+`"`)
	w.WriteHeader(http.StatusOK)
	if !r.wantsBody() {
		return nil
	}
	n, err := w.Write(m.body)
	p.audit(r, Pull{Digest: m.digest.String(), Bytes: int64(n), Status: http.StatusOK, Err: err})
	return nil
}

// audit completes and passes on the line of one answer.
func (p *Proxy) audit(r *request, line Pull) {
	line.VMID, line.Repository, line.Reference = r.guest.VMID, r.name(), r.reference()
	line.Duration = p.now().Sub(r.began)
	p.pulled(line)
}

// Hosts returns the registries that are configured, sorted.
func (p *Proxy) Hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]string, 0, len(p.upstreams))
	for host := range p.upstreams {
		out = append(out, host)
	}
	slices.Sort(out)
	return out
}
