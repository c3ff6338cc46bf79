package hostapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/localapi"
)

func TestReportIsWhatTheContractReads(t *testing.T) {
	var body []byte
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s with %s", r.Method, r.Header.Get("Content-Type"))
		}
		w.WriteHeader(http.StatusNoContent)
	})
	r := NewReporter("", "v1")
	r.Begin(c, "run1")
	r.Send(contract.Report{Step: contract.StepImage, State: contract.StateFailed, Message: strings.Repeat("ű", 2000), Class: "failed", ExitCode: 1})
	if left, err := r.Close(30 * time.Second); left != 0 || err != nil {
		t.Fatalf("%d reports left, %v", left, err)
	}
	got, err := contract.ParseReport(body)
	if err != nil {
		t.Fatalf("ParseReport(%s): %v", body, err)
	}
	if got.Run != "run1" || got.Sequence != 1 || got.Version != "v1" || !utf8.ValidString(got.Message) || !strings.HasSuffix(got.Message, "…") {
		t.Errorf("report %+v", got)
	}
}

// Text whose every byte becomes six in JSON must not cost the report: the host
// refuses one that is too large for good.
func TestReportOfCostlyTextFits(t *testing.T) {
	for _, text := range []string{"<", "&", "\x01", "\u2028", "\xff", "é<"} {
		var body []byte
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusNoContent)
		})
		r := NewReporter("", "v1")
		r.Begin(c, "run1")
		long := strings.Repeat(text, 4000)
		r.Send(contract.Report{Step: contract.StepImage, State: contract.StateFailed, Message: long, Hint: long, Class: "failed", ExitCode: 1})
		if left, err := r.Close(30 * time.Second); left != 0 || err != nil {
			t.Fatalf("%q: %d reports left, %v", text, left, err)
		}
		if len(body) > contract.MaxReportBytes || len(body) < contract.MaxReportBytes/4 {
			t.Errorf("%q: the report is %d bytes long, want at most %d", text, len(body), contract.MaxReportBytes)
		}
	}
}

// moody is a host that takes a while for each report and answers what answer says.
type moody struct {
	take   time.Duration
	answer func(contract.Report) error

	mu  sync.Mutex
	got []string // run, sequence, step, state of what it took
}

func (m *moody) Report(ctx context.Context, r contract.Report) error {
	timer := time.NewTimer(m.take)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if m.answer != nil {
		if err := m.answer(r); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, fmt.Sprint(r.Run, " ", r.Sequence, " ", r.Step, " ", r.State))
	return nil
}

func (m *moody) want(t *testing.T, want ...string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if diff := cmp.Diff(want, m.got); diff != "" {
		t.Errorf("taken by the host (-want +got):\n%s", diff)
	}
}

func closed(t *testing.T, r *Reporter, limit time.Duration, want int) {
	t.Helper()
	if left, err := r.Close(limit); left != want || err != nil {
		t.Errorf("Close leaves %d undelivered (%v), want %d", left, err, want)
	}
}

func TestReporterKeepsTheNewestStateOfEachStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &moody{take: time.Second}
		r := NewReporter("", "v1")
		r.Begin(host, "a")
		r.Send(contract.Report{Step: contract.StepMount, State: contract.StateStarted})
		synctest.Wait() // the first is on its way
		r.Send(contract.Report{Step: contract.StepImage, State: contract.StateStarted})
		r.Send(contract.Report{Step: contract.StepMount, State: contract.StateDone})
		r.Send(contract.Report{Step: contract.StepImage, State: contract.StateDone})
		closed(t, r, time.Minute, 0)
		host.want(t, "a 1 mount started", "a 3 mount done", "a 4 image done")
	})
}

// TestReporterTriesUntilTheHostAnswers guards against reports that are tried once: a
// host that was stopped for six seconds never learned that the guest was ready.
func TestReporterTriesUntilTheHostAnswers(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, 6 * time.Second, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			back := time.Now().Add(outage)
			tries := 0
			host := &moody{answer: func(contract.Report) error {
				if tries++; time.Now().Before(back) {
					return context.DeadlineExceeded
				}
				return nil
			}}
			r := NewReporter("", "v1")
			r.Begin(host, "a")
			r.Send(contract.Report{Step: contract.StepReady, State: contract.StateStarted})
			<-time.After(100 * time.Millisecond)
			r.Send(contract.Report{Step: contract.StepReady, State: contract.StateDone})
			r.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
			<-r.Idle()
			if late := time.Since(back); late > mostPause {
				t.Errorf("delivered %s after the host came back", late)
			}
			if most := int(10 + outage/mostPause); tries > most {
				t.Errorf("%d tries in an outage of %s, want at most %d", tries, outage, most)
			}
			host.want(t, "a 2 ready done", "a 3 run done")
			closed(t, r, time.Second, 0)
		})
	}
}

func TestReporterWaitsAsLongAsTheHostAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, tries := time.Now(), 0
		host := &moody{answer: func(contract.Report) error {
			if tries++; tries == 1 {
				return &localapi.StatusError{Code: 429, RetryAfter: time.Minute}
			}
			return nil
		}}
		r := NewReporter("", "v1")
		r.Begin(host, "a")
		r.Send(contract.Report{Step: contract.StepMount, State: contract.StateDone})
		<-time.After(10 * time.Second)
		r.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
		<-r.Idle()
		if took := time.Since(began); took != time.Minute || tries != 3 {
			t.Errorf("%d tries in %s, want 3 in a minute", tries, took)
		}
		closed(t, r, time.Second, 0)
	})
}

func TestReporterContinuesWithoutWhatTheHostRefuses(t *testing.T) {
	for _, code := range []int{400, 404, 413, 415, 422} {
		synctest.Test(t, func(t *testing.T) {
			host := &moody{answer: func(r contract.Report) error {
				if r.Step == contract.StepImage {
					return &localapi.StatusError{Code: code}
				}
				return nil
			}}
			r := NewReporter("", "v1")
			r.Begin(host, "a")
			r.Send(contract.Report{Step: contract.StepImage, State: contract.StateDone})
			r.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
			closed(t, r, time.Minute, 0)
			host.want(t, "a 2 run done")
		})
	}
}

func TestReporterKeepsWhatIsUndeliveredForTheNextProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lib/felhom/undelivered.json")
	down := &moody{answer: func(contract.Report) error { return errors.New("connection refused") }}
	r := NewReporter(file, "v1")
	r.Begin(down, "a")
	r.Send(contract.Report{Step: contract.StepReady, State: contract.StateFailed, Message: "it ended 3 times", Class: "not-ready", ExitCode: 5})
	r.Send(contract.Report{Step: contract.StepRun, State: contract.StateFailed, Class: "not-ready", ExitCode: 5})
	closed(t, r, 10*time.Millisecond, 2)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("backlog: %v, %v", info, err)
	}

	host := &moody{}
	r = NewReporter(file, "v1")
	r.Begin(host, "b")
	r.Send(contract.Report{Step: contract.StepMount, State: contract.StateDone})
	closed(t, r, time.Minute, 0)
	host.want(t, "a 1 ready failed", "a 2 run failed", "b 1 mount done")
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the delivered backlog is still there: %v", err)
	}
}

// The end of a run is on disk although the file of an earlier run is there.
func TestReporterWritesTheEndOfEachRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "undelivered.json")
	failed := make(chan struct{}, 100)
	down := &moody{answer: func(contract.Report) error { failed <- struct{}{}; return errors.New("connection refused") }}
	earlier := NewReporter(file, "v1")
	earlier.Begin(down, "a")
	earlier.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
	closed(t, earlier, 0, 1)
	r := NewReporter(file, "v1")
	r.Begin(down, "b")
	r.Send(contract.Report{Step: contract.StepRun, State: contract.StateFailed})
	for deadline := time.After(time.Minute); ; {
		reports, _ := readBacklog(file)
		if n := len(reports); n > 0 && reports[n-1].Run == "b" {
			break
		}
		select {
		case <-failed: // the answer before has been taken
		case <-deadline:
			t.Fatalf("backlog %+v, want the end of run b in it", reports)
		}
	}
	closed(t, r, 0, 2)
}

// A killed process delivers nothing at its end, so the end of a run is on disk
// as soon as it could not be delivered.
func TestReporterWritesTheEndOfARunBeforeItIsClosed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "undelivered.json")
	failed := make(chan struct{}, 100)
	down := &moody{answer: func(contract.Report) error { failed <- struct{}{}; return errors.New("connection refused") }}
	r := NewReporter(file, "v1")
	r.Begin(down, "a")
	r.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
	<-failed
	<-failed // the answer to the first has been taken
	reports, exists := readBacklog(file)
	if !exists || len(reports) != 1 || reports[0].Step != contract.StepRun {
		t.Errorf("backlog %v of %+v", exists, reports)
	}
	closed(t, r, 0, 1)
}

func TestBacklogOfAnotherFormHoldsNothing(t *testing.T) {
	good := `{"version":1,"reports":[{"run":"a","sequence":1,"time":"2026-01-31T12:00:00Z","step":"run","state":"done"}]}`
	for name, text := range map[string]string{
		"good": good, "empty": "", "cut": good[:40], "version": strings.Replace(good, "1", "7", 1),
		"report": strings.Replace(good, `"run","state"`, `"walk","state"`, 1), "large": good + strings.Repeat(" ", maxBacklog*contract.MaxReportBytes),
		"many": `{"version":1,"reports":[` + strings.Repeat("{},", 20) + `{}]}`,
	} {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		reports, exists := readBacklog(file)
		if want := name == "good"; !exists || (len(reports) == 1) != want {
			t.Errorf("%s: exists %v, %d reports", name, exists, len(reports))
		}
	}
}

func TestReporterKeepsTheRunBeforeAndNoOlderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(time.Hour)
		host := &moody{answer: func(contract.Report) error {
			if time.Now().Before(back) {
				return errors.New("connection refused")
			}
			return nil
		}}
		r := NewReporter("", "v1")
		for _, run := range []string{"a", "b", "c"} {
			r.Begin(host, run)
			r.Send(contract.Report{Step: contract.StepRun, State: contract.StateFailed})
		}
		closed(t, r, 2*time.Hour, 0)
		host.want(t, "b 1 run failed", "c 1 run failed")
	})
}

func TestReporterHoldsWhatAnotherContractMayDeliver(t *testing.T) {
	for _, code := range []int{401, 403} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			unknown := &moody{answer: func(contract.Report) error { tries++; return &localapi.StatusError{Code: code} }}
			r := NewReporter("", "v1")
			r.Begin(unknown, "a")
			r.Send(contract.Report{Step: contract.StepRun, State: contract.StateFailed})
			<-r.Idle()
			<-time.After(time.Hour)
			if tries != 1 {
				t.Errorf("%d tries with a token that is refused", tries)
			}
			host := &moody{}
			r.Begin(host, "b")
			r.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
			closed(t, r, time.Minute, 0)
			host.want(t, "a 1 run failed", "b 1 run done")
		})
	}
}

func TestReporterClosesWithinTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReporter("", "v1")
		r.Begin(&moody{take: time.Hour}, "a")
		r.Send(contract.Report{Step: contract.StepMount, State: contract.StateDone})
		r.Send(contract.Report{Step: contract.StepRun, State: contract.StateDone})
		synctest.Wait()
		began := time.Now()
		closed(t, r, 2*time.Second, 2)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Close took %s", took)
		}
	})
}
