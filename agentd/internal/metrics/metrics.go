// Package metrics counts what the daemon does and shows it in the form of
// Prometheus. Call [New]; pass [Metrics.Served], [Metrics.Event],
// [Metrics.Pulled] and the others to what they are named after, and serve
// [Metrics.Handler] on the daemon's Unix socket, never on a network. No value of
// a label comes from a guest: each is of a list that is known when the daemon
// starts, so that no guest can make series.
package metrics

import (
	"crypto/x509"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/internal/contract"
)

const (
	namespace = "felhom_agentd"
	// other replaces each value that is not in the list.
	other = "other"
	none  = "none"
)

// Options configure [New]. Origin may be nil.
type Options struct {
	Version string
	// Certificate returns the one that is shown now.
	Certificate func() *x509.Certificate
	// Guests returns how many guests are in each of [GuestStates], and how many
	// records or reports cannot be read.
	Guests func() (states map[string]int, unreadable int, err error)
	Origin func() origin.Counts
	Now    func() time.Time
}

// GuestStates are the states that guests are counted by.
var GuestStates = []string{"healthy", "degraded", "starting", "failed", "silent", "revoked"}

// statuses are those of the local API and of its registry; others are counted as other.
var statuses = []int{200, 204, 206, 304, 307, 400, 401, 403, 404, 405, 412, 413, 415, 416, 417, 421, 422, 429, 431, 500, 501, 502, 503, 504, 505}

var eventNames = map[api.Kind]string{
	api.TokenFirstUsed: "first-used", api.TokenRefused: "refused", api.EndedTokenUsed: "ended-used", api.OtherGuestDenied: "other-guest",
	api.ElsewhereSeen: "elsewhere-seen", api.ElsewhereDenied: "elsewhere-denied",
}

var reportStates = []contract.State{contract.StateStarted, contract.StateDone, contract.StateFailed, contract.StateDegraded, contract.StateSkipped}

// Metrics are the counts of one daemon. They are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	reports  *prometheus.CounterVec
	tokens   *prometheus.CounterVec
	errors   *prometheus.CounterVec
	pulls    *prometheus.CounterVec
	bytes    *prometheus.CounterVec
}

// New returns counts that are all zero.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("requests_total", "Answers of the local API, by row of its route table and status.", "route", "status"),
		refused:  counter("refused_total", "Answers that refuse a request, by the word in their body.", "error"),
		reports:  counter("reports_total", "Reports of guests that were new, by state.", "state"),
		tokens:   counter("token_events_total", "Events about tokens. Refusals are limited for each source: refused_total counts all.", "event"),
		errors:   counter("errors_total", "Failures of the daemon itself, by part.", "part"),
		pulls:    counter("registry_pulls_total", "Manifests and blobs that guests asked the registry proxy for, by status and by whether the registry was asked.", "status", "cached"),
		bytes:    counter("registry_bytes_total", "Bytes that the registry proxy sent to guests, by whether they came from its cache.", "cached"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "request_seconds", Help: "Time to an answer, without what waits before the request is read.",
			Buckets: []float64{.001, .005, .025, .1, .25, 1, 5, 20},
		}, []string{"route"}),
	}
	m.zero()
	m.registry.MustRegister(
		m.requests, m.refused, m.reports, m.tokens, m.errors, m.pulls, m.bytes, m.seconds, newState(o),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// The parts of errors_total.
const (
	partStore    = "store"
	partHandler  = "handler"
	partAudit    = "audit"
	partRegistry = "registry"
)

// zero makes all series: a counter that appears with its first event has no
// rate at that time, and an alert on it misses the event.
func (m *Metrics) zero() {
	for _, route := range append(api.RouteNames(), none) {
		m.seconds.WithLabelValues(route)
		for _, status := range []string{"200", "204", "401", "403", "503"} {
			m.requests.WithLabelValues(route, status)
		}
	}
	for _, name := range append(api.RefusalNames(), other) {
		m.refused.WithLabelValues(name)
	}
	for _, state := range reportStates {
		m.reports.WithLabelValues(string(state))
	}
	for _, name := range eventNames {
		m.tokens.WithLabelValues(name)
	}
	for _, part := range []string{partStore, partHandler, partAudit, partRegistry} {
		m.errors.WithLabelValues(part)
	}
	for _, cached := range []string{"false", "true"} {
		m.bytes.WithLabelValues(cached)
		m.pulls.WithLabelValues("200", cached)
	}
}

// Handler answers with all counts. One scrape at a time is served.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true, MaxRequestsInFlight: 1, Timeout: 10 * time.Second})
}

var (
	knownRoutes   = set(api.RouteNames())
	knownRefusals = set(api.RefusalNames())
)

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

// Served counts an answer of the local API.
func (m *Metrics) Served(s api.Served) {
	route := none
	if knownRoutes[s.Route] {
		route = s.Route
	}
	m.requests.WithLabelValues(route, statusOf(s.Status)).Inc()
	m.seconds.WithLabelValues(route).Observe(s.Took.Seconds())
	if s.Refusal == "" {
		return
	}
	name := other
	if knownRefusals[s.Refusal] {
		name = s.Refusal
	}
	m.refused.WithLabelValues(name).Inc()
}

func statusOf(status int) string {
	for _, known := range statuses {
		if status == known {
			return strconv.Itoa(status)
		}
	}
	return other
}

// Event counts an event of the local API.
func (m *Metrics) Event(e api.Event) {
	if name, ok := eventNames[e.Kind]; ok {
		m.tokens.WithLabelValues(name).Inc()
		return
	}
	switch e.Kind {
	case api.StoreFailed:
		m.errors.WithLabelValues(partStore).Inc()
	case api.HandlerFailed:
		m.errors.WithLabelValues(partHandler).Inc()
	case api.ReportReceived:
		if e.Report == nil {
			return
		}
		for _, state := range reportStates {
			if e.Report.State == state {
				m.reports.WithLabelValues(string(state)).Inc()
			}
		}
	}
}

// Pulled counts what the registry proxy sent.
func (m *Metrics) Pulled(p registryproxy.Pull) {
	cached := strconv.FormatBool(p.IsCached)
	m.pulls.WithLabelValues(statusOf(p.Status), cached).Inc()
	if p.Bytes > 0 {
		m.bytes.WithLabelValues(cached).Add(float64(p.Bytes))
	}
}

// RegistryFailed counts a request that the registry proxy could not serve.
func (m *Metrics) RegistryFailed() { m.errors.WithLabelValues(partRegistry).Inc() }

// AuditFailed counts a line that the audit log could not take.
func (m *Metrics) AuditFailed() { m.errors.WithLabelValues(partAudit).Inc() }

// state collects what is read at each scrape.
type state struct {
	o                                                   Options
	guests, unreadable, expiry, build, origin, mismatch *prometheus.Desc

	mu    sync.Mutex
	taken time.Time
	last  map[string]int
	bad   int
}

// stateAge is how long the guests of one look are shown again, because a look
// reads the records of all guests.
const stateAge = 10 * time.Second

func newState(o Options) *state {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	return &state{
		o: o, guests: desc("guests", "Guests by what they reported last; silent ones never reported.", "state"),
		unreadable: desc("unreadable_records", "Records and reports that cannot be read."),
		expiry:     desc("certificate_not_after_seconds", "When the certificate that is shown ends, as a Unix time."),
		build:      desc("build_info", "1, with the version.", "version"),
		origin:     desc("origin_checked_total", "Requests with a valid token whose origin was looked at."),
		mismatch:   desc("origin_mismatches_total", "Requests with a valid token that did not come from their guest, by reason.", "reason"),
	}
}

// Describe implements [prometheus.Collector].
func (s *state) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.guests, s.unreadable, s.expiry, s.build, s.origin, s.mismatch} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *state) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(s.build, 1, s.o.Version)
	gauge(s.expiry, float64(s.o.Certificate().NotAfter.Unix()))
	if states, bad, ok := s.look(); ok {
		for _, name := range GuestStates {
			gauge(s.guests, float64(states[name]), name)
		}
		gauge(s.unreadable, float64(bad))
	}
	counts := origin.Counts{}
	if s.o.Origin != nil {
		counts = s.o.Origin()
	}
	to <- prometheus.MustNewConstMetric(s.origin, prometheus.CounterValue, float64(counts.Checked))
	for _, reason := range origin.Reasons {
		to <- prometheus.MustNewConstMetric(s.mismatch, prometheus.CounterValue, float64(counts.Mismatches[reason]), string(reason))
	}
}

// look returns the guests of the last seconds. ok is false if the store cannot be
// read: no figure is better than an old one.
func (s *state) look() (states map[string]int, bad int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || s.o.Now().Sub(s.taken) > stateAge {
		states, bad, err := s.o.Guests()
		if err != nil {
			return nil, 0, false
		}
		s.last, s.bad, s.taken = states, bad, s.o.Now()
	}
	return s.last, s.bad, true
}
