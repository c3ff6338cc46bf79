package metrics_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/metrics"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/internal/contract"
)

func newMetrics() *metrics.Metrics {
	ends := time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	return metrics.New(metrics.Options{
		Version: "v1", Certificate: func() *x509.Certificate { return &x509.Certificate{NotAfter: ends} }, Now: time.Now,
		Guests: func() (map[string]int, int, error) { return map[string]int{"healthy": 2, "silent": 1}, 1, nil },
		Origin: func() origin.Counts {
			return origin.Counts{Checked: 7, Mismatches: map[origin.Reason]uint64{origin.OtherPort: 3}}
		},
	})
}

// series returns each series of a scrape with its value.
func series(t *testing.T, m *metrics.Metrics) map[string]string {
	t.Helper()
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("%d %s", recorder.Code, recorder.Body)
	}
	out := map[string]string{}
	for line := range strings.Lines(recorder.Body.String()) {
		if strings.HasPrefix(line, "felhom_") {
			at := strings.LastIndex(line, " ")
			out[line[:at]] = strings.TrimSpace(line[at:])
		}
	}
	return out
}

func TestCounts(t *testing.T) {
	m := newMetrics()
	m.Served(api.Served{Route: "GET /guest", Status: 200, Took: time.Millisecond})
	m.Served(api.Served{Status: 401, Refusal: "unauthorized"})
	m.Event(api.Event{Kind: api.TokenRefused})
	m.Event(api.Event{Kind: api.StoreFailed})
	m.Event(api.Event{Kind: api.ReportReceived, Report: &contract.Report{State: contract.StateFailed}})
	m.Event(api.Event{Kind: api.ReportReceived, Report: &contract.Report{State: "x\n"}})
	m.Pulled(registryproxy.Pull{Status: 200, Bytes: 10, IsCached: true})
	m.RegistryFailed()
	m.AuditFailed()
	got := series(t, m)
	for name, want := range map[string]string{
		`felhom_agentd_requests_total{route="GET /guest",status="200"}`:                    "1",
		`felhom_agentd_requests_total{route="none",status="401"}`:                          "1",
		`felhom_agentd_request_seconds_count{route="GET /guest"}`:                          "1",
		`felhom_agentd_refused_total{error="unauthorized"}`:                                "1",
		`felhom_agentd_token_events_total{event="refused"}`:                                "1",
		`felhom_agentd_token_events_total{event="ended-used"}`:                             "0",
		`felhom_agentd_errors_total{part="store"}`:                                         "1",
		`felhom_agentd_errors_total{part="audit"}`:                                         "1",
		`felhom_agentd_errors_total{part="registry"}`:                                      "1",
		`felhom_agentd_reports_total{state="failed"}`:                                      "1",
		`felhom_agentd_registry_pulls_total{cached="true",status="200"}`:                   "1",
		`felhom_agentd_registry_bytes_total{cached="true"}`:                                "10",
		`felhom_agentd_guests{state="healthy"}`:                                            "2",
		`felhom_agentd_guests{state="failed"}`:                                             "0",
		`felhom_agentd_unreadable_records`:                                                 "1",
		`felhom_agentd_origin_checked_total`:                                               "7",
		`felhom_agentd_origin_mismatches_total{reason="` + string(origin.OtherPort) + `"}`: "3",
		`felhom_agentd_build_info{version="v1"}`:                                           "1",
		`felhom_agentd_certificate_not_after_seconds`:                                      "2.0827584e+09",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
}

// What a guest or an upstream registry chooses must not make series.
func TestSeriesAreBounded(t *testing.T) {
	m := newMetrics()
	ask := func(i int) {
		m.Served(api.Served{Route: fmt.Sprintf("GET /%d", i), Status: i, Refusal: fmt.Sprint("word", i)})
		m.Event(api.Event{Kind: api.Kind(i), VMID: i, Digest: fmt.Sprint(i)})
		m.Event(api.Event{Kind: api.ReportReceived, Report: &contract.Report{State: contract.State(fmt.Sprint(i))}})
		m.Pulled(registryproxy.Pull{VMID: i, Repository: fmt.Sprint(i), Status: i, Bytes: -1})
	}
	for i := range 1000 {
		ask(i)
	}
	before := len(series(t, m))
	for i := 1000; i < 3000; i++ {
		ask(i)
	}
	if after := len(series(t, m)); after != before || after > 500 {
		t.Errorf("%d series, then %d: want no new one, and at most 500", before, after)
	}
}

// alerts is a rule file of Prometheus.
type alerts struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr string
			Annotations map[string]string
		}
	}
}

var (
	selector = regexp.MustCompile(`(felhom_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`^([a-z_]+)(=~|=)"([^"]*)"$`)
)

// An alert on a name or a label that the daemon does not have never fires, and
// nothing says so.
func TestAlertsAreOnSeriesThatExist(t *testing.T) {
	data, err := os.ReadFile("../../../docs/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file alerts
	if err := yaml.Unmarshal(data, &file); err != nil || len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("%+v, %v", file, err)
	}
	m := newMetrics()
	m.Served(api.Served{Route: "POST /reports", Status: 204})
	got := series(t, m)
	for _, rule := range file.Groups[0].Rules {
		if rule.Annotations["summary"] == "" || rule.Annotations["remedy"] == "" {
			t.Errorf("%s has no summary or no remedy", rule.Alert)
		}
		if strings.Count(rule.Expr, "(") != strings.Count(rule.Expr, ")") {
			t.Errorf("%s: %s is not an expression", rule.Alert, rule.Expr)
		}
		found := selector.FindAllStringSubmatch(rule.Expr, -1)
		if len(found) == 0 {
			t.Errorf("%s: no metric in %s", rule.Alert, rule.Expr)
		}
		for _, s := range found {
			if !exists(t, got, s[1], s[2]) {
				t.Errorf("%s: there is no series %s", rule.Alert, s[0])
			}
		}
	}
	for _, wrong := range [][2]string{{"felhom_agentd_none", ""}, {"felhom_agentd_guests", `state="x"`}, {"felhom_agentd_guests", `walk="failed"`}} {
		if exists(t, got, wrong[0], wrong[1]) {
			t.Errorf("%v is said to exist", wrong)
		}
	}
}

// exists reports whether a series has the name and each label with the value, or
// a value that matches.
func exists(t *testing.T, all map[string]string, name, matchers string) bool {
	t.Helper()
	for full := range all {
		at, labels, _ := strings.Cut(strings.TrimSuffix(full, "}"), "{")
		if at != name {
			continue
		}
		ok := true
		for _, part := range strings.Split(matchers, ",") {
			if part == "" {
				continue
			}
			m := matcher.FindStringSubmatch(strings.TrimSpace(part))
			if m == nil {
				t.Errorf("%s: matcher %s is not understood", name, part)
				return false
			}
			value := regexp.QuoteMeta(m[3])
			if m[2] == "=~" {
				value = m[3]
			}
			ok = ok && regexp.MustCompile(`(^|,)`+m[1]+`="(`+value+`)"`).MatchString(labels)
		}
		if ok {
			return true
		}
	}
	return false
}

// Each metric that the daemon has is in the page.
func TestDocsHaveEachMetric(t *testing.T) {
	page, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for full := range series(t, newMetrics()) {
		name, _, _ := strings.Cut(full, "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
}
