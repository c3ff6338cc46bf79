package api_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
)

// deadlines is a listener that notes the read deadline of its last connection.
type deadlines struct {
	net.Listener
	mu       sync.Mutex
	last     time.Time
	newest   *noted
	accepted int
}

func (l *deadlines) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted++
	l.newest = &noted{c, l}
	return l.newest, err
}

func (l *deadlines) conn() *noted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest
}

// now returns the read deadline, and how many connections there were.
func (l *deadlines) now() (last time.Time, accepted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.accepted
}

type noted struct {
	net.Conn
	l *deadlines
}

func (c *noted) SetReadDeadline(t time.Time) error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.last = t
	return c.Conn.SetReadDeadline(t)
}

// slowStore calls during while a request is served.
type slowStore struct {
	api.Guests
	during func(ctx context.Context)
}

func (s *slowStore) MarkUsed(ctx context.Context, tok token.Token) error {
	s.during(ctx)
	return s.Guests.MarkUsed(ctx, tok)
}

func (s *slowStore) AddReport(ctx context.Context, vmid int, r contract.Report) (bool, error) {
	s.during(ctx)
	return s.Guests.AddReport(ctx, vmid, r)
}

// serveSlow serves b over HTTP and returns what asks over connections that are kept.
func (b *bed) serveSlow(t *testing.T, during func(ctx context.Context)) (*deadlines, func(method, path, body string)) {
	t.Helper()
	b.Server = api.New(api.Options{
		Guests: &slowStore{b.store, during}, Storage: b.storage, HostID: "demo", Hosts: []string{hostPort}, ReportsPerMinute: 600, Now: time.Now, Event: func(api.Event) {},
	})
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &deadlines{Listener: raw}
	server := api.HTTP(b.Server, log.New(io.Discard, "", 0))
	go func() { _ = server.Serve(listener.NewCaps(16, 64, 100).Wrap(l)) }() // ends with Close
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	t.Cleanup(func() { client.CloseIdleConnections(); _ = server.Close() })
	return l, func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+raw.Addr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = hostPort
		r.Header.Set("Authorization", "Bearer "+b.tokens[8200].Reveal())
		r.Header.Set("Content-Type", "application/json")
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body) // else the connection is not kept
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// The time that a connection has until a token comes does not end a request with one, which
// a busy disk holds up: net/http would end the context of the connection, and a guest whose
// client keeps it would get no answer but 503 again.
func TestARequestThatArrivedHasNoLimitToArrive(t *testing.T) {
	b := newBed(t, 8200)
	var l *deadlines
	calls := 0
	l, ask := b.serveSlow(t, func(context.Context) {
		calls++
		if last, _ := l.now(); !last.IsZero() {
			t.Errorf("call %d: the read side ends in %v, want not while the request is served", calls, time.Until(last))
		}
	})
	ask(http.MethodGet, contract.PathStorage, "")
	ask(http.MethodPost, contract.PathReports, reportBody("run-1", 1))
	if _, accepted := l.now(); calls != 2 || accepted != 1 {
		t.Errorf("%d calls on %d connections, want 2 on one", calls, accepted)
	}
	for until := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		if last, _ := l.now(); !last.IsZero() {
			break // the limit of an idle connection
		}
		if time.Now().After(until) {
			t.Fatal("an idle connection has no limit")
		}
	}
}

// A connection whose context has ended, however that came, is not kept.
func TestAConnectionWhoseContextEndedIsNotKept(t *testing.T) {
	b := newBed(t, 8200)
	var l *deadlines
	var ended []bool
	l, ask := b.serveSlow(t, func(ctx context.Context) {
		ended = append(ended, ctx.Err() != nil)
		if len(ended) > 1 {
			return
		}
		if err := l.conn().Conn.SetReadDeadline(time.Unix(1, 0)); err != nil { // below what counts it
			t.Error(err)
		}
		<-ctx.Done()
	})
	for sequence := range 3 {
		ask(http.MethodPost, contract.PathReports, reportBody("run-1", sequence+1))
	}
	if _, accepted := l.now(); len(ended) != 3 || !ended[1] || ended[2] || accepted != 2 {
		t.Errorf("contexts ended: %v, on %d connections, want the second alone, which is the last on the first of 2", ended, accepted)
	}
}
