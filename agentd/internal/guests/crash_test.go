package guests_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
)

func stepReport(run string, sequence int, step contract.Step) contract.Report {
	return contract.Report{Run: run, Sequence: uint64(sequence), Time: time.Unix(1e9, 0).UTC(), Step: step, State: contract.StateDone}
}

type sent struct {
	vmid   int
	report contract.Report
}

// send adds a report and fails the test unless it is acknowledged as news.
func send(t *testing.T, s *guests.Store, one sent) {
	t.Helper()
	if isNews, err := s.AddReport(t.Context(), one.vmid, one.report); err != nil || !isNews {
		t.Fatalf("guest %d, %s %d: news %v, %v", one.vmid, one.report.Run, one.report.Sequence, isNews, err)
	}
}

// crashBed is a daemon's directories, with reports of three guests in their
// files and later ones in the log.
type crashBed struct {
	bed
	crashed string // a copy of the directories: a checkpoint, half a minute later, does not change it
	logged  []sent // one for each line of the log
	wants   map[int]map[int][]string
}

func newCrashBed(t *testing.T) crashBed {
	t.Helper()
	b := crashBed{bed: open(t), crashed: t.TempDir(), wants: map[int]map[int][]string{}}
	steps := contract.Steps()
	first := b.another(t)
	for vmid := 8200; vmid < 8203; vmid++ {
		mint(t, b.Store, vmid)
		for n := range 3 {
			send(t, first, sent{vmid, stepReport("a", n+1, steps[n])})
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := b.another(t)
	for _, run := range []string{"a", "b", "c"} { // a run that ends, two that begin
		for vmid := 8200; vmid < 8203; vmid++ {
			for n := range 3 {
				sequence := n + 1
				if run == "a" {
					sequence += 10
				}
				one := sent{vmid, stepReport(run, sequence, steps[n])}
				send(t, second, one)
				b.logged = append(b.logged, one)
			}
		}
	}
	if err := os.CopyFS(b.crashed, os.DirFS(b.state)); err != nil {
		t.Fatal(err)
	}
	return b
}

// want returns what the guests have reported when the log has n lines.
func (b crashBed) want(t *testing.T, n int) map[int][]string {
	t.Helper()
	if known := b.wants[n]; known != nil {
		return known
	}
	reference := open(t)
	for vmid := 8200; vmid < 8203; vmid++ {
		mint(t, reference.Store, vmid)
		for i := range 3 {
			send(t, reference.Store, sent{vmid, stepReport("a", i+1, contract.Steps()[i])})
		}
	}
	for _, one := range b.logged[:n] {
		send(t, reference.Store, one)
	}
	b.wants[n] = progressOf(t, reference.Store)
	return b.wants[n]
}

func progressOf(t *testing.T, s *guests.Store) map[int][]string {
	t.Helper()
	out := map[int][]string{}
	for vmid := 8200; vmid < 8203; vmid++ {
		p, err := s.Progress(vmid)
		if err != nil {
			t.Fatal(err)
		}
		out[vmid] = []string{p.Run, p.PreviousRun}
		for _, step := range p.Steps {
			out[vmid] = append(out[vmid], fmt.Sprint(step.Report.Step, step.Report.Sequence))
		}
	}
	return out
}

// copied opens a copy of the directories, as a daemon does that starts after a
// crash.
func (b crashBed) copied(t *testing.T, change func(state string)) *guests.Store {
	t.Helper()
	state := t.TempDir()
	if err := os.CopyFS(state, os.DirFS(b.crashed)); err != nil {
		t.Fatal(err)
	}
	change(state)
	s, err := guests.Open(filepath.Join(state, "guests"), state, b.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// check compares what another process reads, what is there after recovery, and
// whether reports are known, with the first n lines of the log.
func (b crashBed) check(t *testing.T, name string, s *guests.Store, n int) {
	t.Helper()
	want := b.want(t, n)
	if d := cmp.Diff(want, progressOf(t, s)); d != "" {
		t.Errorf("%s: before recovery, want - got +:\n%s", name, d)
	}
	if err := s.Recover(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if d := cmp.Diff(want, progressOf(t, s)); d != "" {
		t.Errorf("%s: after recovery, want - got +:\n%s", name, d)
	}
	isSent := map[int]bool{}
	for i, one := range b.logged {
		switch {
		case i >= n && !isSent[one.vmid]: // the guest sends again what was not acknowledged
			send(t, s, one)
			isSent[one.vmid] = true
		case i >= n:
		case one.report.Run == want[one.vmid][0]: // and what was, if the answer was lost
			if isNews, err := s.AddReport(t.Context(), one.vmid, one.report); err != nil || isNews {
				t.Errorf("%s: report %d is repeated: news %v, %v, want it known", name, i, isNews, err)
			}
		}
	}
}

func onlyLog(t *testing.T, state string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(state, "reports/log/*"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs %v, %v, want one", logs, err)
	}
	return logs[0]
}

// A daemon that is killed, or a host that loses power, leaves a log that ends
// anywhere.
func TestReportsAfterEachPrefixOfTheLog(t *testing.T) {
	b := newCrashBed(t)
	data, err := os.ReadFile(onlyLog(t, b.crashed))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines)-1 != len(b.logged) {
		t.Fatalf("the log has %d lines, want %d", len(lines)-1, len(b.logged))
	}
	size := 0
	for n, line := range lines {
		for _, cut := range slices.Compact([]int{0, len(line) / 2, max(0, len(line)-1)}) {
			s := b.copied(t, func(state string) {
				if err := os.Truncate(onlyLog(t, state), int64(size+cut)); err != nil {
					t.Fatal(err)
				}
			})
			if n > 0 {
				b.check(t, fmt.Sprintf("%d lines and %d bytes", n, cut), s, n)
			}
		}
		size += len(line)
	}
}

// Blocks of a file whose new size is on disk can be zeros.
func TestReportsBesideALogWithAnEndOfZeros(t *testing.T) {
	b := newCrashBed(t)
	s := b.copied(t, func(state string) {
		f, err := os.OpenFile(onlyLog(t, state), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(append(make([]byte, 5000), "}\n"...))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	})
	b.check(t, "zeros", s, len(b.logged))
}

// A checkpoint writes one file after the other, syncs their directory, and
// removes the logs, in this order.
func TestReportsAfterEachPrefixOfACheckpoint(t *testing.T) {
	b := newCrashBed(t)
	after := ""
	finished := b.copied(t, func(state string) { after = state })
	if err := finished.Recover(); err != nil {
		t.Fatal(err)
	}
	if logs, err := filepath.Glob(filepath.Join(after, "reports/log/*")); err != nil || len(logs) > 0 {
		t.Fatalf("a checkpoint leaves the logs %v, %v", logs, err)
	}
	install := func(state string, vmid int) {
		name := fmt.Sprintf("reports/%d.json", vmid)
		data, err := os.ReadFile(filepath.Join(after, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(state, name), data, 0o600)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(state, fmt.Sprintf("reports/.%d.json.ABCDEFGH.tmp", vmid)), data[:20], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Without a sync of the directory, any of the renames can be on disk.
	for written := range 1 << 3 {
		s := b.copied(t, func(state string) {
			for i := range 3 {
				if written&(1<<i) != 0 {
					install(state, 8200+i)
				}
			}
		})
		b.check(t, fmt.Sprintf("files %03b", written), s, len(b.logged))
	}
	// A process that read the log before the last lines reads the files after them.
	for n := range b.logged {
		s := b.copied(t, func(state string) {
			data, err := os.ReadFile(onlyLog(t, state))
			if err == nil {
				err = os.WriteFile(onlyLog(t, state), bytes.Join(bytes.SplitAfter(data, []byte("\n"))[:n], nil), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				install(state, 8200+i)
			}
		})
		b.check(t, fmt.Sprintf("files of all lines and a log of %d", n), s, len(b.logged))
	}
}

// Between a checkpoint's start and its end there are two logs.
func TestReportsInTwoLogs(t *testing.T) {
	b := newCrashBed(t)
	data, err := os.ReadFile(onlyLog(t, b.crashed))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for _, n := range []int{1, 17, len(lines) - 2} {
		s := b.copied(t, func(state string) {
			name := onlyLog(t, state)
			second := filepath.Join(filepath.Dir(name), fmt.Sprintf("%020d.log", 1<<30))
			if err := errors.Join(os.WriteFile(name, bytes.Join(lines[:n], nil), 0o600), os.WriteFile(second, bytes.Join(lines[n:], nil), 0o600)); err != nil {
				t.Fatal(err)
			}
		})
		b.check(t, fmt.Sprintf("%d lines in the first", n), s, len(b.logged))
	}
}

// Another guest with the same VMID has none of the reports of the one before it,
// also if their last is in the log alone, or in a file that was written late.
func TestReportsOfARemovedGuestDoNotComeBack(t *testing.T) {
	for name, isRead := range map[string]func(t *testing.T, b crashBed, daemon *guests.Store){
		"in the log": func(*testing.T, crashBed, *guests.Store) {},
		"after a checkpoint": func(t *testing.T, b crashBed, daemon *guests.Store) {
			if err := daemon.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"after a crash": func(t *testing.T, b crashBed, _ *guests.Store) {
			if err := b.another(t).Recover(); err != nil {
				t.Fatal(err)
			}
		},
		"with a file that was written late": func(t *testing.T, b crashBed, daemon *guests.Store) {
			data, err := os.ReadFile(filepath.Join(b.state, "reports/8201.json"))
			if err != nil {
				t.Fatal(err)
			}
			old := bytes.ReplaceAll(data, []byte("8201"), []byte("8200"))
			if err := os.WriteFile(filepath.Join(b.state, "reports/8200.json"), old, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newCrashBed(t)
			daemon := b.another(t)
			send(t, daemon, sent{8200, stepReport("d", 1, contract.StepMount)})
			if err := errors.Join(b.RemoveReports(8200), b.Replace(t.Context(), 8200, nil)); err != nil {
				t.Fatal(err)
			}
			if p, err := b.Progress(8200); !errors.Is(err, guests.ErrNotFound) {
				t.Errorf("a removed guest has %+v, %v, want no reports", p, err)
			}
			mint(t, b.Store, 8200)
			isRead(t, b, daemon)
			if p, err := b.Progress(8200); !errors.Is(err, guests.ErrNotFound) {
				t.Errorf("the next guest has %+v, %v, want no reports", p, err)
			}
			next := b.another(t)
			if name == "in the log" || name == "with a file that was written late" {
				next = daemon
			}
			send(t, next, sent{8200, stepReport("a", 1, contract.StepMount)})
			p, err := b.Progress(8200)
			if err != nil || len(p.Steps) != 1 || p.PreviousRun != "" {
				t.Errorf("the next guest's first report: %+v, %v, want it alone", p, err)
			}
		})
	}
}

// Checkpoints run beside the reports and lose none.
func TestReportsBesideCheckpoints(t *testing.T) {
	b := open(t)
	b.SetCheckpointSize(2000)
	const crowd = 50
	steps := contract.Steps()
	var sending sync.WaitGroup
	for i := range crowd {
		mint(t, b.Store, 8200+i)
		sending.Go(func() {
			reader := b.another(t)
			for run := range 5 {
				for n, step := range steps {
					r := stepReport(fmt.Sprint("run", run), n+1, step)
					if isNews, err := b.AddReport(t.Context(), 8200+i, r); err != nil || !isNews {
						t.Errorf("guest %d: news %v, %v", 8200+i, isNews, err)
					}
					p, err := reader.Progress(8200 + i)
					if last, _ := p.Last(); err != nil || p.Run != r.Run || last.Report.Sequence != r.Sequence || len(p.Steps) != n+1 {
						t.Errorf("guest %d: after report %d of %s another process reads %d steps of %s, %v", 8200+i, n+1, r.Run, len(p.Steps), p.Run, err)
					}
				}
			}
		})
	}
	sending.Wait()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if logs, err := filepath.Glob(filepath.Join(b.state, "reports/log/*")); err != nil || len(logs) > 0 {
		t.Errorf("logs %v, %v, want none after Close", logs, err)
	}
	files, err := filepath.Glob(filepath.Join(b.state, "reports/*.json"))
	if err != nil || len(files) != crowd {
		t.Errorf("%d files, %v, want %d", len(files), err, crowd)
	}
	next := b.another(t)
	for i := range crowd {
		p, err := next.Progress(8200 + i)
		if err != nil || p.Run != "run4" || p.PreviousRun != "run3" || len(p.Steps) != len(steps) {
			t.Errorf("guest %d: %+v, %v", 8200+i, p, err)
		}
	}
}
