package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// The daemon shows what it counted on its socket, and on no other way.
func TestMetricsAreOnTheSocketAlone(t *testing.T) {
	b := startDaemon(t)
	boot := b.add(t, "8200")
	c := client(t, boot)
	good := boot.LocalAPIToken.Reveal()
	report := `{"run":"r","sequence":1,"time":"2026-03-01T12:00:03Z","step":"run","state":"done"}`
	for _, r := range []struct {
		method, path, token, body string
		want                      int
	}{
		{http.MethodGet, "/guest", good, "", 200},
		{http.MethodPost, "/reports", good, report, 204},
		{http.MethodPost, "/reports", good, "{", 422},
		{http.MethodGet, "/guest", "wrong", "", 401},
		{http.MethodGet, "/guests/8201/storage", good, "", 403},
		{http.MethodGet, "/metrics", good, "", 404},
		{http.MethodGet, "/metrics", "", "", 401},
	} {
		if code, body := b.do(t, c, r.method, r.path, r.token, r.body); code != r.want {
			t.Errorf("%s %s: %d %s, want %d", r.method, r.path, code, body, r.want)
		}
	}
	text := b.command(t, "metrics")
	for _, want := range []string{
		`felhom_agentd_requests_total{route="GET /guest",status="200"} 1`,
		`felhom_agentd_requests_total{route="POST /reports",status="204"} 1`,
		`felhom_agentd_requests_total{route="POST /reports",status="422"} 1`,
		`felhom_agentd_requests_total{route="none",status="401"} 2`,
		`felhom_agentd_requests_total{route="none",status="404"} 1`,
		`felhom_agentd_requests_total{route="GET /guests/{vmid}/storage",status="403"} 1`,
		`felhom_agentd_refused_total{error="invalid-report"} 1`,
		`felhom_agentd_refused_total{error="forbidden"} 1`,
		`felhom_agentd_reports_total{state="done"} 1`,
		`felhom_agentd_token_events_total{event="refused"} 2`,
		`felhom_agentd_guests{state="healthy"} 1`,
		`felhom_agentd_unreadable_records 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the metrics have no line %s", want)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "felhom_") && !strings.HasSuffix(line, " 0\n") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
	if strings.Contains(text, good) || strings.Contains(text, "8200") {
		t.Error("a metric has a token or the number of a guest")
	}
}

func TestMetricsWithoutADaemon(t *testing.T) {
	b := newBed(t)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{program, "--config", b.config, "metrics"}, &stdout, &stderr); code != 5 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "hint: ") {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), stderr.String())
	}
}
