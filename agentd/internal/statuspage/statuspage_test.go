package statuspage_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/rollout"
	"github.com/felhom/felhom-golden/agentd/internal/statuspage"
	"github.com/felhom/felhom-golden/internal/contract"
)

// hostile is what a guest may send in a text. Nothing of it may act on a page.
const hostile = `</td></table><script>document.title='owned'</script><img src=x onerror="document.title='owned'"><style>*{display:none}</style>` +
	"]]>&lt;\u202egnp.exe\u202c\x1b[2J\x00\r\n\"'`{{.}}"

var began = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// sample is a host with a guest of each kind; texts of the second are hostile.
func sample() statuspage.Options {
	rows := []overview.Row{
		{
			Guest: 8200, Name: "web", State: "running", Image: "registry.example/team/app:1", Controller: overview.Healthy, Address: "192.0.2.20",
			URLs: []string{"http://192.0.2.20:9001/"}, Since: began.Add(-time.Minute), Step: "run", Result: "changed", Version: "v0.2.0", Golden: "vzdump-lxc-9000.tar.zst",
		},
		{
			Guest: 8201, Name: hostile, State: "running", Image: hostile, Controller: overview.Failed, Class: hostile, Address: "192.0.2.21", Version: hostile,
			URLs:  []string{"javascript:document.title='owned'", "http://192.0.2.99/", "http://user:secret@192.0.2.21/", hostile},
			Since: began, Step: "image", Message: hostile, Hint: hostile, Console: "/var/lib/felhom/guests/8201/console.log",
		},
		{Guest: 8202, State: "running", Image: "registry.example/team/app:2", Controller: overview.Starting, Since: began, Step: "image", Message: "pulling, 12.0 MiB of 80.3 MiB"},
		{Guest: 8203, State: "stopped", Image: "registry.example/team/app:1", Controller: overview.Stopped},
		{Guest: 8204, State: "running", Image: "registry.example/team/app:1"},
	}
	return statuspage.Options{
		Host: "pve1", Version: "v0.2.0", Now: func() time.Time { return began.Add(3 * time.Second) },
		Rows: func(context.Context) ([]overview.Row, map[string]error, error) {
			return rows, map[string]error{"8205.json": errors.New("line 1: " + hostile)}, nil
		},
		Row: func(_ context.Context, vmid int) (overview.Row, error) {
			for _, r := range rows {
				if r.Guest == vmid {
					return r, nil
				}
			}
			return overview.Row{}, guests.ErrNotFound
		},
		Progress: func(vmid int) (guests.Progress, error) {
			switch vmid {
			case 8200:
				return progress("as before"), nil
			case 8201:
				return progress(hostile), nil
			}
			return guests.Progress{}, guests.ErrNotFound
		},
	}
}

func progress(message string) guests.Progress {
	p := guests.Progress{Run: "run1"}
	at := began
	for i, s := range []struct {
		step   contract.Step
		result contract.Result
		ms     int64
	}{
		{contract.StepMount, contract.ResultUnchanged, 2},
		{contract.StepChannel, contract.ResultUnchanged, 31},
		{contract.StepEngine, contract.ResultUnchanged, 640},
		{contract.StepImage, contract.ResultChanged, 1830},
		{contract.StepContainer, contract.ResultChanged, 240},
		{contract.StepReady, contract.ResultUnchanged, 410},
		{contract.StepRun, contract.ResultChanged, 3200},
	} {
		if s.step != contract.StepRun {
			at = at.Add(time.Duration(s.ms) * time.Millisecond)
		}
		p.Steps = append(p.Steps, guests.Received{Received: at, Report: contract.Report{
			Run: "run1", Sequence: uint64(i + 1), Time: at, Step: s.step, State: contract.StateDone, Result: s.result, Message: message, DurationMS: s.ms,
		}})
	}
	return p
}

func get(t *testing.T, h http.Handler, path, host string) *httptest.ResponseRecorder {
	t.Helper()
	return ask(t, h, http.MethodGet, path, host)
}

func ask(t *testing.T, h http.Handler, method, path, host string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Without a browser: no text of a guest is markup, a link, or acts on the reader's
// eye. The browser's own word is in the test beside this one.
func TestHostileTexts(t *testing.T) {
	h := statuspage.New(sample())
	for _, path := range []string{"/status", "/status/guests/8201", "/status/guests/8201/timeline.svg"} {
		res := get(t, h, path, "localhost")
		body := res.Body.String()
		if res.Code != http.StatusOK || !strings.Contains(body, "owned") {
			t.Errorf("%s: %d, and the hostile text is in it: %t", path, res.Code, strings.Contains(body, "owned"))
		}
		for _, bad := range []string{"<script", "<img src=x", "<style>*", `href="javascript`, `href="http://192.0.2.99`, `href="http://user`, "\u202e", "\x1b", "\x00", "]]>"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
		if policy := res.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	if body := get(t, h, "/status", "localhost").Body.String(); !strings.Contains(body, `href="http://192.0.2.20:9001/"`) {
		t.Error("the guest's own address is not a link")
	}
	picture := get(t, h, "/status/guests/8201/timeline.svg", "localhost").Body
	for dec := xml.NewDecoder(picture); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture: %v", err)
		}
	}
}

func TestAnswers(t *testing.T) {
	o := sample()
	h := statuspage.New(o)
	for _, c := range []struct {
		path, host string
		want       int
	}{
		{"/status", "localhost:8444", 200},
		{"/status", "127.0.0.1", 200},
		{"/status", "[::1]:8444", 200},
		{"/status", "::1", 200},
		{"/status", "evil.example", 421}, // a name that points to this host's loopback
		{"/status", "127.0.0.1.evil.example:8444", 421},
		{"/status", "192.0.2.7:8444", 421},
		{"/status", "", 421},
		{"/status/guests/8200", "localhost", 200},
		{"/status/guests/8204", "localhost", 200},
		{"/status/guests/9999", "localhost", 404},
		{"/status/guests/08200", "localhost", 404},
		{"/status/guests/-1", "localhost", 404},
		{"/status/guests/99999999999999999999", "localhost", 404},
		{"/status/guests/x%2f..%2f..", "localhost", 404},
		{"/status/guests/8204/timeline.svg", "localhost", 404},
		{"/other", "localhost", 404},
	} {
		if res := get(t, h, c.path, c.host); res.Code != c.want {
			t.Errorf("%s at %q: %d, want %d: %.80s", c.path, c.host, res.Code, c.want, res.Body)
		}
	}
	if res := ask(t, h, http.MethodPost, "/status", "localhost"); res.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d, want 405", res.Code)
	}
	o.Rows = func(context.Context) ([]overview.Row, map[string]error, error) {
		return nil, nil, errors.New("the store is away")
	}
	if res := get(t, statuspage.New(o), "/status", "localhost"); res.Code != 503 || !strings.Contains(res.Body.String(), "the store is away") {
		t.Errorf("a store that cannot be read: %d %q", res.Code, res.Body)
	}
}

// Many readers ask the hypervisor as often as one.
func TestReadersShareOneList(t *testing.T) {
	o := sample()
	var made atomic.Int32
	var now atomic.Int64
	rows := o.Rows
	o.Rows = func(ctx context.Context) ([]overview.Row, map[string]error, error) { made.Add(1); return rows(ctx) }
	o.Now = func() time.Time { return began.Add(time.Duration(now.Load())) }
	h := statuspage.New(o)
	for range 20 {
		get(t, h, "/status", "localhost")
	}
	now.Store(int64(time.Minute))
	get(t, h, "/status", "localhost")
	now.Store(0) // the clock was set back
	get(t, h, "/status", "localhost")
	if made.Load() != 3 {
		t.Errorf("the list was made %d times, want 3", made.Load())
	}
}

// What a guest says of its time cannot make a picture that no reader opens.
func TestTimelineOfFalseTimes(t *testing.T) {
	p := progress("x")
	p.Steps[0].Report.Time = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	p.Steps[1].Report.DurationMS = 1<<63 - 1
	p.Steps[2].Report.Time = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	p.Steps[3].Report.DurationMS = -1 << 63
	if svg := string(statuspage.Timeline(p)); len(svg) > 16<<10 || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(svg, `width="-`) {
		t.Errorf("%d bytes: %.3000s", len(svg), svg)
	}
	if svg := string(statuspage.Timeline(guests.Progress{})); !strings.Contains(svg, "No step has been reported") {
		t.Errorf("without steps: %s", svg)
	}
}

// A rollout that has not ended is above the guests, with its texts escaped.
func TestUnfinishedRollout(t *testing.T) {
	o := sample()
	if body := get(t, statuspage.New(o), "/status", "localhost").Body.String(); strings.Contains(body, "Rollout") {
		t.Errorf("the page names a rollout, and none exists:\n%s", body)
	}
	r := &overview.Rollout{Image: hostile, Wave: 2, Waves: 5, Done: 3, Failed: 1, Left: 7}
	var failure error
	o.Rollout = func() (*overview.Rollout, error) { return r, failure }
	rows, _, err := o.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	part := *r
	part.State = rollout.Failed
	rows[1].Rollout, rows[1].Running = &part, hostile
	for _, path := range []string{"/status", "/status/guests/8201"} {
		body := get(t, statuspage.New(o), path, "localhost").Body.String()
		wants := []string{"owned", "failed"}
		if path == "/status" {
			wants = append(wants, "stopped at wave 2 of 5", "3 done", "1 failed", "7 left", "guest rollout --resume")
		}
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: want %q in it:\n%s", path, want, body)
			}
		}
		for _, bad := range []string{"<script", "<img src=x", "<style>*", "\u202e", "\x1b"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
	}
	r.IsHeld = true
	if body := get(t, statuspage.New(o), "/status", "localhost").Body.String(); !strings.Contains(body, "at work at wave 2 of 5") || strings.Contains(body, "--resume") {
		t.Errorf("a rollout that is at work:\n%s", body)
	}
	r, failure = nil, errors.New("rollout.json is not a journal of a rollout")
	if body := get(t, statuspage.New(o), "/status", "localhost").Body.String(); !strings.Contains(body, failure.Error()) || !strings.Contains(body, "8200") {
		t.Errorf("a damaged journal:\n%s", body)
	}
}
