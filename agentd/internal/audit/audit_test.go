package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/audit"
)

func openLog(t *testing.T, dir string) *audit.Log {
	t.Helper()
	l, err := audit.Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// filled returns a directory with a log of ten lines.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l := openLog(t, dir)
	for i := range 10 {
		if err := l.Add(t.Context(), audit.Event{Kind: audit.TokenMinted, Guest: 8200 + i, By: "guest add"}); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func verify(t *testing.T, dir string) audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAWholeLogHasNoFindings(t *testing.T) {
	for name, dir := range map[string]string{"empty": t.TempDir(), "ten lines": filled(t)} {
		if r := verify(t, dir); len(r.Findings) > 0 || name != "empty" && (r.Lines != 10 || r.First != 1 || r.Last != 10) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestEachChangeIsFound(t *testing.T) {
	dir := filled(t)
	log, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	head, err := os.ReadFile(filepath.Join(dir, "audit.head"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(log, []byte("\n"))[:10]
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	changes := map[string][2][]byte{ // log and head
		"no log":      {nil, head},
		"no head":     {log, nil},
		"older head":  {log, []byte(`{"number":5,"sha256":"` + strings.Repeat("1", 64) + `"}`)},
		"a line more": {append(slices.Clone(log), lines[9]...), head},
		"a word more": {bytes.Replace(log, []byte(`"guest":8204`), []byte(`"guest":8204,"x":1`), 1), head},
	}
	for i := range lines {
		changes[fmt.Sprintf("without line %d", i+1)] = [2][]byte{join(append(slices.Clone(lines[:i]), lines[i+1:]...)...), head}
		changes[fmt.Sprintf("line %d twice", i+1)] = [2][]byte{join(append(slices.Clone(lines[:i+1]), lines[i:]...)...), head}
		if i > 0 {
			swapped := slices.Clone(lines)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			changes[fmt.Sprintf("lines %d and %d swapped", i, i+1)] = [2][]byte{join(swapped...), head}
		}
	}
	for at := range log {
		changed := slices.Clone(log)
		changed[at] ^= 1
		changes[fmt.Sprintf("byte %d changed", at)] = [2][]byte{changed, head}
		if at%7 == 0 {
			changes[fmt.Sprintf("cut at byte %d", at)] = [2][]byte{log[:at], head}
		}
	}
	for name, c := range changes {
		for i, file := range []string{"audit.log", "audit.head"} {
			file = filepath.Join(dir, file)
			if err = os.Remove(file); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if c[i] == nil {
				continue
			}
			if err := os.WriteFile(file, c[i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if r := verify(t, dir); len(r.Findings) == 0 {
			t.Errorf("%s: no finding", name)
		}
	}
}

// A write that is interrupted leaves any beginning of its lines, and an older
// head: neither is a finding once the next event is there.
func TestAnInterruptedWriteIsRepaired(t *testing.T) {
	dir := filled(t)
	log, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	head, err := os.ReadFile(filepath.Join(dir, "audit.head"))
	if err != nil {
		t.Fatal(err)
	}
	if err := openLog(t, dir).Add(t.Context(), audit.Event{Kind: audit.Started}, audit.Event{Kind: audit.Stopped}); err != nil {
		t.Fatal(err)
	}
	longer, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for size := len(log); size <= len(longer); size++ {
		for name, data := range map[string][]byte{"audit.log": longer[:size], "audit.head": head} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := openLog(t, dir).Add(t.Context(), audit.Event{Kind: audit.Started}); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, dir); len(r.Findings) > 0 || r.Last < 11 {
			t.Fatalf("after %d of %d bytes: %+v", size, len(longer), r)
		}
	}
}

func TestTheNextAddRemovesWhatAKilledOneLeft(t *testing.T) {
	dir := filled(t)
	stale := filepath.Join(dir, ".audit.head.ABCDEFGH.tmp")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openLog(t, dir).Add(t.Context(), audit.Event{Kind: audit.TokenMinted, Guest: 8210}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(stale); !os.IsNotExist(err) {
		t.Errorf("%s stays: %v", stale, err)
	}
}

func TestFilesRotate(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	l.SetMaxFile(2000)
	for i := range 150 {
		if err := l.Add(t.Context(), audit.Event{Kind: audit.TokenFirstUsed, Guest: 8200 + i, Detail: strings.Repeat("x", 5000)}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "audit-*.log"))
	if err != nil || len(files) != 8 {
		t.Fatalf("%d full files, %v, want 8", len(files), err)
	}
	if r := verify(t, dir); len(r.Findings) > 0 || r.First < 50 || r.Lines < 20 {
		t.Errorf("%+v", r)
	}
	for _, missing := range []int{0, 3, 7} {
		data, err := os.ReadFile(files[missing])
		if err == nil {
			err = os.Remove(files[missing])
		}
		if err != nil {
			t.Fatal(err)
		}
		if r := verify(t, dir); len(r.Findings) == 0 {
			t.Errorf("without full file %d: no finding", missing)
		}
		if err := os.WriteFile(files[missing], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyProcessesAdd(t *testing.T) {
	dir := t.TempDir()
	var adding sync.WaitGroup
	for range 8 {
		l := openLog(t, dir)
		adding.Go(func() {
			for range 10 {
				if err := l.Add(t.Context(), audit.Event{Kind: audit.TokenMinted}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adding.Wait()
	if r := verify(t, dir); len(r.Findings) > 0 || r.Lines != 80 {
		t.Errorf("%+v", r)
	}
}

// Requests of guests do not wait for a log that another process holds, and what
// has no room in the queue is counted.
func TestAQueueDoesNotWait(t *testing.T) {
	dir := t.TempDir()
	lock, err := os.OpenFile(filepath.Join(dir, "audit.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	q := audit.NewQueue(openLog(t, dir), func(err error) { t.Error(err) })
	for range 3000 {
		q.Add(audit.Event{Kind: audit.TokenRefused})
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	q.Close()
	r := verify(t, dir)
	if len(r.Findings) > 0 || r.Lines < 1024 || r.Lines > 2100 {
		t.Errorf("%+v", r)
	}
	data, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	if err != nil || !strings.Contains(string(data), `"event":"events-lost"`) {
		t.Errorf("no line of lost events, %v", err)
	}
}

// While the log takes nothing, as on a full disk, each try to write also has the number of
// the events that were lost before it: it must not be lost itself.
func TestTheNumberOfLostEventsIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		blocked := filepath.Join(dir, "audit.log")
		if err := os.Mkdir(blocked, 0o700); err != nil {
			t.Fatal(err)
		}
		failures := 0
		q := audit.NewQueue(openLog(t, dir), func(error) { failures++ })
		for range 5 {
			q.Add(audit.Event{Kind: audit.TokenRefused})
			synctest.Wait()
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		q.Add(audit.Event{Kind: audit.TokenRefused})
		q.Close()
		data, err := os.ReadFile(blocked)
		if err != nil || failures != 5 || strings.Count(string(data), "\n") != 2 || !strings.Contains(string(data), `"detail":"5 events"`) {
			t.Errorf("after %d failures, %v:\n%s\nwant the last event, and 5 that were lost", failures, err, data)
		}
	})
}
