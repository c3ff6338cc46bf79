// Package statuspage shows the guests to a person with a browser: what runs in
// them, what is wrong, and how the boot of each went. Call [New]. The pages are
// made on the host, need no JavaScript, change nothing and hold no secret. What
// a guest sent is data: it is escaped, and cut.
package statuspage

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// The paths of the pages. A guest has PathGuests + VMID, and its timeline
// PathGuests + VMID + "/timeline.svg".
const (
	Path       = "/status"
	PathGuests = "/status/guests/"
)

// fresh is how long the list of guests is shown before it is made again: many
// readers then cost the hypervisor no more than one.
const fresh = 2 * time.Second

// The longest texts of a guest, in characters.
const (
	maxShort   = 80
	maxMessage = 600
)

// Options is where the pages get what they show.
type Options struct {
	Host, Version string
	Rows          func(context.Context) ([]overview.Row, map[string]error, error)
	Row           func(ctx context.Context, vmid int) (overview.Row, error) // or guests.ErrNotFound
	Progress      func(vmid int) (guests.Progress, error)                   // or guests.ErrNotFound
	Rollout       func() (*overview.Rollout, error)                         // nil: there is none that has not ended
	Now           func() time.Time
}

//go:embed style.css
var style string

//go:embed page.html.tmpl
var source string

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"short":   func(s string) string { return termtext.Line(s, maxShort) },
	"base":    func(ref string) string { return termtext.Line(path.Base(ref), maxShort) },
	"bare":    bare,
	"message": func(s string) string { return termtext.Line(s, maxMessage) },
	"css":     func() template.CSS { return template.CSS(style) }, //nolint:gosec // it is part of this program
}).Parse(source))

// policy allows the pages only their own style and pictures.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; img-src 'self'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

type page struct {
	Options
	mu   sync.Mutex
	list list
}

// list is the last list of guests that was made.
type list struct {
	Rows    []overview.Row
	Broken  []string
	Rollout *overview.Rollout
	At      time.Time
}

// New returns the handler of [Path] and what is below it.
func New(o Options) http.Handler {
	p := &page{Options: o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, p.showList)
	mux.HandleFunc("GET "+PathGuests+"{vmid}", p.showGuest)
	mux.HandleFunc("GET "+PathGuests+"{vmid}/timeline.svg", p.showTimeline)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		// A page of another site can give its name this host's address; what its
		// browser then asks for here has that name.
		if !isLocal(r.Host) {
			http.Error(w, "this page answers to the name localhost and to loopback addresses only", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// isLocal reports whether a request's Host header names this machine by its
// loopback.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func (p *page) showList(w http.ResponseWriter, r *http.Request) {
	l, err := p.current(r.Context())
	if err != nil {
		http.Error(w, "the guests cannot be read: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	p.write(w, "list", map[string]any{
		"Page": "Guests", "Host": p.Host, "Version": p.Version, "At": l.At, "Broken": l.Broken, "Rollout": l.Rollout, "Guests": views(l), "Counts": countsOf(l.Rows),
	})
}

// current returns a list that is at most fresh old.
func (p *page) current(ctx context.Context) (list, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.Now(); p.list.At.IsZero() || now.Sub(p.list.At) >= fresh || now.Before(p.list.At) {
		// A reader that goes away must not leave the others without a list.
		rows, broken, err := p.Rows(context.WithoutCancel(ctx))
		if err != nil {
			return list{}, err
		}
		p.list = list{Rows: rows, At: now}
		for name, err := range broken {
			p.list.Broken = append(p.list.Broken, name+": "+err.Error())
		}
		slices.Sort(p.list.Broken)
		if p.Rollout != nil {
			if p.list.Rollout, err = p.Rollout(); err != nil {
				p.list.Broken = append(p.list.Broken, "rollout: "+err.Error())
			}
			p.list.Rollout.Join(rows)
		}
	}
	return p.list, nil
}

func (p *page) showGuest(w http.ResponseWriter, r *http.Request) {
	vmid, ok := vmidOf(w, r)
	if !ok {
		return
	}
	row, err := p.Row(r.Context(), vmid)
	if err != nil {
		fail(w, vmid, err)
		return
	}
	// The page is useful without the reports.
	progress, err := p.Progress(vmid)
	var damage string
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		damage = err.Error()
	}
	now := p.Now()
	p.write(w, "guest", map[string]any{
		"Page": "Guest " + strconv.Itoa(vmid), "Host": p.Host, "Version": p.Version, "At": now,
		"Guest": viewOf(row, now), "Steps": progress.Steps, "Damage": damage,
	})
}

func (p *page) showTimeline(w http.ResponseWriter, r *http.Request) {
	vmid, ok := vmidOf(w, r)
	if !ok {
		return
	}
	progress, err := p.Progress(vmid)
	if err != nil {
		fail(w, vmid, err)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	// The picture has a style of its own, and nothing that could run.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_, _ = w.Write(Timeline(progress)) // the reader has gone
}

func vmidOf(w http.ResponseWriter, r *http.Request) (int, bool) {
	vmid, err := strconv.Atoi(r.PathValue("vmid"))
	if err != nil || vmid < 1 || strconv.Itoa(vmid) != r.PathValue("vmid") {
		http.Error(w, "no such page: want "+PathGuests+"VMID", http.StatusNotFound)
		return 0, false
	}
	return vmid, true
}

func fail(w http.ResponseWriter, vmid int, err error) {
	if errors.Is(err, guests.ErrNotFound) {
		http.Error(w, "guest "+strconv.Itoa(vmid)+" is not known here, or has not reported", http.StatusNotFound)
		return
	}
	http.Error(w, "guest "+strconv.Itoa(vmid)+" cannot be read: "+err.Error(), http.StatusServiceUnavailable)
}

func (p *page) write(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer // complete or not at all
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the reader has gone
}

// view is a row as the pages show it.
type view struct {
	overview.Row
	Class string // of the state's colour
	Said  string // what the last column says
	Age   string // of the last report
	Links []link
}

// link is an address of the guest's container. A guest chooses the text, so that
// only an address that the hypervisor knows as that guest's becomes a link.
type link struct {
	Text   string
	IsLink bool
}

func views(l list) []view {
	out := make([]view, 0, len(l.Rows))
	for _, r := range l.Rows {
		out = append(out, viewOf(r, l.At))
	}
	return out
}

// bare returns an address without the scheme, for a narrow column.
func bare(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = strings.TrimSuffix(rest, "/")
	}
	return termtext.Line(address, maxShort)
}

func viewOf(r overview.Row, now time.Time) view {
	v := view{Row: r, Class: classOf(r), Said: r.Text()}
	if !r.Since.IsZero() {
		v.Age = overview.Age(now.Sub(r.Since))
	}
	for _, text := range r.URLs {
		u, err := url.Parse(text)
		own := err == nil && !r.IsReported && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil && r.Address != "" && u.Hostname() == strings.Split(r.Address, "/")[0]
		v.Links = append(v.Links, link{Text: text, IsLink: own})
	}
	return v
}

func classOf(r overview.Row) string {
	switch {
	case r.Controller == overview.Failed || r.State == overview.Partial || r.State == overview.Gone || r.Revoked:
		return "bad"
	case r.Controller == overview.Healthy:
		return "good"
	case r.Controller == overview.Starting || r.Controller == overview.Degraded:
		return "warn"
	}
	return "off"
}

// counts is how many guests there are of each colour.
type counts struct{ All, Good, Warn, Bad, Off int }

func countsOf(rows []overview.Row) counts {
	c := counts{All: len(rows)}
	for _, r := range rows {
		switch classOf(r) {
		case "good":
			c.Good++
		case "warn":
			c.Warn++
		case "bad":
			c.Bad++
		default:
			c.Off++
		}
	}
	return c
}
