// Package api answers the requests of guests to the local API. Call [New] for the
// handler, [HTTP] for its server, and [TLS] for the listener to serve from. It
// has the one route table, the checks before it, and the limits on how often a
// client may ask. Which guest asks is decided from the request's token alone; whether the guest itself asks, by an [Origin].
// Records and reports are in package guests, figures come from a driver, and what
// is worth a log line goes to the caller as an [Event]. docs/local-api.md and
// docs/openapi.yaml specify the API.
package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/internal/contract"
)

// Right is what a row of the route table demands of the guest that asks.
type Right int

const (
	// AnyGuest demands a valid token. The row answers with the asking guest's own data.
	AnyGuest Right = iota + 1
	// OwnGuest demands that the {vmid} of the path is the asking guest's own.
	OwnGuest
	// OwnImages demands that the path is of an image that the guest may pull; the
	// registry decides that.
	OwnImages
)

// Route is one row of the table.
type Route struct {
	Method  string
	Path    string // segments; {vmid} stands for one segment
	Right   Right
	MaxBody int64 // bytes of JSON that the row takes; 0: it takes no body
	// TakesUp: a request shows that the new token has arrived where it is used
	// from now on, so the one before it ends. The bootstrapper's own requests do
	// not: until it has written controller.yaml, the controller that runs has
	// only the old one.
	TakesUp bool
	handle  func(ctx context.Context, req request) (reply, error)
	// serve, in place of handle, answers all paths that begin with Path.
	serve func(w http.ResponseWriter, r *http.Request, g registryproxy.Guest)
}

// request is all that a handler sees. It has no header, so that a handler
// cannot decide a right.
type request struct {
	vmid int // the asking guest
	body []byte
}

type reply struct {
	status     int
	value      any
	retryAfter time.Duration // 0: the answer asks for no later try
}

// Routes returns the whole API.
func (s *Server) Routes() []Route {
	return append([]Route{
		{Method: http.MethodGet, Path: contract.PathGuest, Right: AnyGuest, handle: s.getGuest},
		{Method: http.MethodGet, Path: contract.PathStorage, Right: AnyGuest, TakesUp: true, handle: s.getStorage},
		{Method: http.MethodGet, Path: contract.PathGuestStorage, Right: OwnGuest, TakesUp: true, handle: s.getStorage},
		{Method: http.MethodPost, Path: contract.PathReports, Right: AnyGuest, MaxBody: contract.MaxReportBytes, handle: s.postReport},
	}, s.registryRoutes()...)
}

// match reports whether a path, in its escaped form, is of this row, and what
// stands for {vmid}. It cleans and redirects nothing: another spelling of a
// path is another path.
func (r Route) match(path string) (vmid string, ok bool) {
	if r.serve != nil {
		return "", strings.HasPrefix(path, r.Path)
	}
	pattern := r.Path
	for pattern != "" || path != "" {
		var want, got string
		want, pattern = segment(pattern)
		got, path = segment(path)
		switch {
		case want == "/{vmid}" && len(got) > 1:
			vmid = got[1:]
		case want != got:
			return "", false
		}
	}
	return vmid, true
}

// segment cuts "/a" off "/a/b".
func segment(path string) (first, rest string) {
	if path == "" {
		return "", ""
	}
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[:i+1], path[i+1:]
	}
	return path, ""
}

func ok(value any) reply { return reply{status: http.StatusOK, value: value} }

func (s *Server) getGuest(_ context.Context, req request) (reply, error) {
	return ok(contract.Guest{Guest: req.vmid, HostID: s.hostID, Agent: s.version, Time: s.now().UTC()}), nil
}

// lowDivisor: storage is low when less than a tenth of a file system is available.
const lowDivisor = 10

func (s *Server) getStorage(ctx context.Context, req request) (reply, error) {
	out := contract.Storage{Storage: contract.StorageUnknown, Guest: req.vmid}
	if s.meter == nil {
		return ok(out), nil
	}
	usage, err := s.meter.usage(ctx, req.vmid)
	if hasNone(err) {
		// The token is valid, so the guest exists; the host only has no
		// figures.
		return ok(out), nil
	}
	if err != nil {
		return reply{}, fmt.Errorf("storage: %w", err)
	}
	full, low := false, false
	for _, u := range usage {
		full = full || u.Available <= 0
		low = low || u.Available < u.Size/lowDivisor
		out.Filesystems = append(out.Filesystems, contract.Filesystem{
			Path: u.Path, SizeBytes: unsigned(u.Size), UsedBytes: unsigned(u.Used), AvailableBytes: unsigned(u.Available),
		})
	}
	switch {
	case full:
		out.Storage = contract.StorageFull
	case low:
		out.Storage = contract.StorageLow
	default:
		out.Storage = contract.StorageOK
	}
	return ok(out), nil
}

func unsigned(n int64) uint64 { return uint64(max(n, 0)) }

func (s *Server) postReport(ctx context.Context, req request) (reply, error) {
	if !s.reports.allow(req.vmid, s.now()) {
		return reply{refusedReports.status, refusedReports.Problem, s.reports.pause()}, nil
	}
	report, err := contract.ParseReport(req.body)
	if err != nil {
		// The text is this program's own and is about the sender's own body.
		return reply{status: refusedReport.status, value: contract.Problem{Error: refusedReport.Error, Message: err.Error()}}, nil
	}
	isNews, err := s.guests.AddReport(ctx, req.vmid, report)
	if err != nil {
		return reply{}, err
	}
	if isNews {
		s.event(Event{Kind: ReportReceived, VMID: req.vmid, Report: &report})
	}
	return reply{status: http.StatusNoContent}, nil
}
