package hostapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pin"
)

const token = "fgt_8200_secret"

// serve starts a host and returns a client that pins it.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	endpoint, err := contract.ParseEndpoint(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := contract.ParseSecret(token)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{Endpoint: endpoint, Pins: pin.Set{pin.SPKIOf(server.Certificate())}, Token: secret}
	t.Cleanup(c.Close)
	return c
}

func TestGuest(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/guest" || r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("got %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		_, _ = io.WriteString(w, `{"guest":8200,"host_id":"h","agent":"1","time":"2026-01-31T12:00:00Z"}`)
	})
	got, err := c.Guest(t.Context())
	want := contract.Guest{Guest: 8200, HostID: "h", Agent: "1", Time: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Guest: %v\n%s", err, diff)
	}
}

func TestWrongPinSendsNoRequest(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	other, err := pin.ParseSPKI("uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
	if err != nil {
		t.Fatal(err)
	}
	c.Pins = pin.Set{other}
	_, err = c.Guest(t.Context())
	if _, ok := errors.AsType[*pin.MismatchError](err); !ok {
		t.Errorf("error is %v, want a *pin.MismatchError in the chain", err)
	}
}

func TestRefusalsKeepCodeAndMessageButNoToken(t *testing.T) {
	for _, code := range []int{401, 403, 500, 302} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"error":"x","message":"because"}`)
		})
		_, err := c.Guest(t.Context())
		status, ok := errors.AsType[*StatusError](err)
		if !ok || status.Code != code || status.Message != "because" {
			t.Errorf("%d: error is %v", code, err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("the error holds the token: %v", err)
		}
	}
}

func TestHostThatHangsCostsTheTimeout(t *testing.T) {
	release := make(chan struct{})
	c := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c.Timeout = 50 * time.Millisecond
	if _, err := c.Guest(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want a deadline", err)
	}
}

func TestZeroClientFails(t *testing.T) {
	if _, err := new(Client).Guest(t.Context()); err == nil {
		t.Error("the zero client reached a host")
	}
}

func TestReportIsWhatTheContractReads(t *testing.T) {
	var body []byte
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s with %s", r.Method, r.Header.Get("Content-Type"))
		}
		w.WriteHeader(http.StatusNoContent)
	})
	r := NewReporter(t.Context(), c, "run1", "v1")
	r.Send(contract.Report{Step: contract.StepImage, State: contract.StateFailed, Message: strings.Repeat("ű", 2000), Class: "failed", ExitCode: 1})
	if lost := r.Close(5 * time.Second); lost != 0 {
		t.Fatalf("%d reports lost", lost)
	}
	got, err := contract.ParseReport(body)
	if err != nil {
		t.Fatalf("ParseReport(%s): %v", body, err)
	}
	if got.Run != "run1" || got.Sequence != 1 || got.Version != "v1" || !utf8.ValidString(got.Message) || !strings.HasSuffix(got.Message, "…") {
		t.Errorf("report %+v", got)
	}
}

// slow is a host that takes a while for each report.
type slow struct {
	mu   sync.Mutex
	got  []contract.Report
	take time.Duration
	err  error
}

func (s *slow) Report(ctx context.Context, r contract.Report) error {
	timer := time.NewTimer(s.take)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r)
	return s.err
}

func TestReporterKeepsTheOrderAndDropsStaleNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &slow{take: time.Second}
		r := NewReporter(t.Context(), host, "run1", "v1")
		r.Send(contract.Report{Step: contract.StepMount, State: contract.StateStarted})
		synctest.Wait() // the first is on its way
		r.Send(contract.Report{Step: contract.StepImage, State: contract.StateStarted})
		r.Send(contract.Report{Step: contract.StepMount, State: contract.StateDone})
		r.Send(contract.Report{Step: contract.StepImage, State: contract.StateDone})
		if lost := r.Close(time.Minute); lost != 0 {
			t.Errorf("%d lost", lost)
		}
		var got []string
		for _, report := range host.got {
			data, _ := json.Marshal(report.Sequence)
			got = append(got, string(data)+" "+string(report.Step)+" "+string(report.State))
		}
		if diff := cmp.Diff([]string{"1 mount started", "3 mount done", "4 image done"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReporterGivesUpAtTheLimitAndCountsTheLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := NewReporter(ctx, &slow{take: time.Hour}, "run1", "v1")
		for range 3 {
			r.Send(contract.Report{Step: contract.StepMount, State: contract.StateDone})
		}
		synctest.Wait()
		begun := time.Now()
		lost := r.Close(2 * time.Second)
		if took := time.Since(begun); took != 2*time.Second || lost < 2 {
			t.Errorf("Close took %s and counts %d lost, want 2 s and at least 2", took, lost)
		}
		cancel()
		<-r.done
	})
}
