package main

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/hostapi"
	"github.com/felhom/felhom-golden/internal/contract"
)

// heard is a host that keeps what it is told.
type heard struct {
	mu      sync.Mutex
	reports []contract.Report
}

func (h *heard) Report(_ context.Context, r contract.Report) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports = append(h.reports, r)
	return nil
}

// TestAPullIsShownWithRateAndTimeLeft: in the unit's status line, and to the host.
func TestAPullIsShownWithRateAndTimeLeft(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	host := &heard{}
	r := hostapi.NewReporter("", "v1")
	r.Begin(host, "run")
	told := newTalk(io.Discard, "run")
	told.reporter, told.every = r, time.Second
	began := time.Now()
	told.Started(contract.StepImage)
	told.Note(contract.StepImage, "pulling reg.example/c:v1")
	for i := range int64(8) { // rates are measured over real time
		<-time.After(300 * time.Millisecond)
		told.Bytes(contract.StepImage, i<<20, 100<<20)
	}
	if n, err := r.Close(time.Minute); n != 0 || err != nil {
		t.Fatalf("%d undelivered, %v", n, err)
	}
	var status []string
	if err := l.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 4096); ; {
		n, err := l.Read(buf)
		if err != nil {
			break
		}
		status = append(status, string(buf[:n]))
	}
	isShown := func(text string) bool {
		return strings.Contains(text, "pulling reg.example/c:v1: ") && strings.Contains(text, " of 100.0 MiB, ") && strings.Contains(text, "/s, ") && strings.HasSuffix(text, " left")
	}
	last := status[len(status)-1]
	if !strings.HasPrefix(last, "STATUS=image: ") || !isShown(last) {
		t.Errorf("status %q", status)
	}
	host.mu.Lock()
	defer host.mu.Unlock()
	n := 0
	for _, report := range host.reports {
		if report.Step == contract.StepImage && report.State == contract.StateStarted && isShown(report.Message) {
			n++
		}
	}
	if most := int(time.Since(began) / told.every); n == 0 || n > most {
		t.Errorf("%d reports of the pull's bytes: %+v", n, host.reports)
	}
}

// What could not be kept is not promised.
func TestUndeliveredReportsThatAreNotKept(t *testing.T) {
	for kept, want := range map[bool]string{true: "the next run delivers what is left", false: "could not be kept"} {
		var text strings.Builder
		newTalk(&text, "run").undelivered(2, kept)
		if !strings.Contains(text.String(), "undelivered reports: 2;") || !strings.Contains(text.String(), want) {
			t.Errorf("kept %v: got %q, want %q", kept, text.String(), want)
		}
	}
}
