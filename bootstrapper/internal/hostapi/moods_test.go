package hostapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// TestReportsSurviveTheHost has a host that treats the first request badly: it
// is stopped, restarts, or has no space. The newest state of each step arrives.
func TestReportsSurviveTheHost(t *testing.T) {
	cut := func(t *testing.T, w http.ResponseWriter, text string) {
		t.Helper()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, text) // the client may have left
		_ = conn.Close()
	}
	answer := func(code int, retryAfter string) func(*testing.T, http.ResponseWriter, *http.Request) {
		return func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"error":"x","message":"x"}`)
		}
	}
	for name, mood := range map[string]func(*testing.T, http.ResponseWriter, *http.Request){
		"cut before the answer": func(t *testing.T, w http.ResponseWriter, _ *http.Request) { cut(t, w, "") },
		"cut in the head":       func(t *testing.T, w http.ResponseWriter, _ *http.Request) { cut(t, w, "HTTP/1.1 204 No Con") },
		"cut in the body": func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			cut(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
		},
		"not HTTP": func(t *testing.T, w http.ResponseWriter, _ *http.Request) { cut(t, w, "SSH-2.0-x\r\n") },
		"large head": func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		},
		"large body": func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 4<<20))
		},
		"slow": func(_ *testing.T, _ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // the end of the handler alone would be a success
		},
		"503":                    answer(503, "1"),
		"503 without a wait":     answer(503, ""),
		"503 until a past date":  answer(503, "Mon, 02 Jan 2006 15:04:05 GMT"),
		"503 with a broken wait": answer(503, "soon"),
		"429":                    answer(429, "1"),
		"500":                    answer(500, ""),
		"507":                    answer(507, ""),
		"redirect":               answer(307, ""),
		"408":                    answer(408, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			requests, got := 0, map[contract.Step]contract.Report{}
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				mu.Lock()
				requests++
				bad := requests == 1
				mu.Unlock()
				if bad {
					mood(t, w, r)
					return
				}
				report, parseErr := contract.ParseReport(body)
				if err != nil || parseErr != nil {
					return // the next try has it
				}
				mu.Lock()
				if report.Sequence > got[report.Step].Sequence {
					got[report.Step] = report
				}
				mu.Unlock()
				w.WriteHeader(http.StatusNoContent)
			})
			c.Timeout = 2 * time.Second
			r := NewReporter("", "v1")
			r.Begin(c, "a")
			r.Send(contract.Report{Step: contract.StepReady, State: contract.StateStarted})
			r.Send(contract.Report{Step: contract.StepReady, State: contract.StateDone})
			r.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
			closed(t, r, 3*time.Minute, 0)
			mu.Lock()
			defer mu.Unlock()
			for _, step := range []contract.Step{contract.StepReady, contract.StepRun} {
				if got[step].State != contract.StateDone {
					t.Errorf("%s: the host has %s, want done", step, fmt.Sprint(got[step].State))
				}
			}
		})
	}
}

// What a message holds must not have the host refuse the report.
func TestReportsOfOddTextAreTaken(t *testing.T) {
	for _, text := range []string{"<", "\x00", "\u2028", "\xff", "é<", "\xe2\x80", "\u202e", "\x1b[2J\r\n\t", "\U0010ffff", "\ufffd"} {
		var last atomic.Pointer[[]byte] // a request that was given up may still be read
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			last.Store(&body)
			w.WriteHeader(http.StatusNoContent)
		})
		r := NewReporter("", "v1")
		r.Begin(c, "a")
		for _, n := range []int{1, 682, 683, 2000, 64 << 10} {
			long := strings.Repeat(text, n)
			r.Send(contract.Report{Step: contract.StepImage, State: contract.StateFailed, Message: long, Hint: "x" + long, Class: "failed", ExitCode: 1})
			<-r.Idle()
			if got, err := contract.ParseReport(*last.Load()); err != nil || got.Message == "" {
				t.Errorf("%d of %q: %v", n, text, err)
			}
		}
		closed(t, r, time.Minute, 0)
	}
}

// Where the disk keeps nothing, Close says so, and what is there later is delivered.
func TestReportsThatCannotBeKept(t *testing.T) {
	lib := filepath.Join(t.TempDir(), "lib")
	if err := os.WriteFile(lib, nil, 0o600); err != nil { // a file where the directory has to be
		t.Fatal(err)
	}
	file := filepath.Join(lib, "undelivered.json")
	down := &moody{answer: func(contract.Report) error { return errors.New("connection refused") }}
	r := NewReporter(file, "v1")
	r.Begin(down, "a")
	r.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
	if left, err := r.Close(0); left != 1 || err == nil {
		t.Fatalf("Close leaves %d (%v), want 1 and an error", left, err)
	}

	r = NewReporter(file, "v1")
	r.Begin(down, "b")
	r.Send(contract.Report{Step: contract.StepRun, State: contract.StateFailed})
	if err := os.Remove(lib); err != nil { // there is space again
		t.Fatal(err)
	}
	closed(t, r, 0, 1)
	host := &moody{}
	r = NewReporter(file, "v1")
	r.Begin(host, "c")
	closed(t, r, time.Minute, 0)
	host.want(t, "b 1 run failed")
}
