package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/metrics"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/internal/contract"
)

// The lines of Prometheus' text format, as its documentation has them, without time stamps
// and escapes.
var (
	scrapeLine  = regexp.MustCompile(`^(?:# HELP [a-z_:][a-z0-9_:]* [ -~]*|# TYPE [a-z_:][a-z0-9_:]* (?:counter|gauge|histogram|summary|untyped)|[a-z_:][a-z0-9_:]*(?:\{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*\})? (?:[-+0-9.e]+|NaN|[-+]Inf))$`)
	scrapeLabel = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// FuzzScrape: whatever is counted of requests and reports, a scrape has the form of
// Prometheus, and no value of a label that is not known beforehand.
func FuzzScrape(f *testing.F) {
	f.Add("GET /guest", 200, "unauthorized", "failed", int64(10), int64(time.Second))
	f.Add("GET /guest\"} 1\nx 2\n", 999, "x\n# TYPE", "done\"", int64(-1), int64(-1))
	f.Add("", -1, "", "", int64(1<<62), int64(1<<62))
	f.Add("\xff\\", 200, "\xff\u202e", "\x00", int64(0), int64(0))
	known := map[string][]string{
		"route": append(api.RouteNames(), "none"), "error": append(api.RefusalNames(), "other"), "version": {"v1"}, "cached": {"true", "false"}, "part": {"store", "handler", "audit", "registry"},
		"state": append([]string{"started", "done", "failed", "degraded", "skipped"}, metrics.GuestStates...),
	}
	f.Fuzz(func(t *testing.T, route string, status int, refusal, state string, size, took int64) {
		m := newMetrics()
		m.Served(api.Served{Route: route, Status: status, Refusal: refusal, Took: time.Duration(took)})
		m.Event(api.Event{Kind: api.ReportReceived, Report: &contract.Report{State: contract.State(state)}})
		m.Event(api.Event{Kind: api.Kind(status)})
		m.Pulled(registryproxy.Pull{Status: status, Bytes: size})
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		text := w.Body.String()
		if w.Code != http.StatusOK || !strings.HasSuffix(text, "\n") {
			t.Fatalf("%d %s", w.Code, text)
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); !scrapeLine.MatchString(line) {
				t.Errorf("line %q", line)
			}
			if strings.HasPrefix(line, "#") || !strings.HasPrefix(line, "felhom_") {
				continue
			}
			for _, label := range scrapeLabel.FindAllStringSubmatch(line, -1) {
				if values, ok := known[label[1]]; ok && !slices.Contains(values, label[2]) {
					t.Errorf("line %q has %s", line, label[0])
				}
				if number, err := strconv.Atoi(label[2]); label[1] == "status" && label[2] != "other" && (err != nil || number < 100 || number > 599) {
					t.Errorf("line %q has %s", line, label[0])
				}
			}
		}
	})
}
