package retry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/bootstrapper/internal/watch"
	"github.com/felhom/felhom-golden/internal/fault"
)

// mount is a source whose states are real ones, taken before the clock is a
// test's: a watcher waits in the kernel, which such a clock cannot see.
type mount struct {
	now     atomic.Pointer[watch.State]
	changes chan struct{}
}

func (m *mount) Changes() <-chan struct{} { return m.changes }
func (m *mount) Look() watch.State        { return *m.now.Load() }

func (m *mount) set(s watch.State) {
	m.now.Store(&s)
	select {
	case m.changes <- struct{}{}:
	default:
	}
}

// states gives an empty mount and n different filled ones.
func states(t *testing.T, n int) (empty watch.State, filled []watch.State) {
	t.Helper()
	dir := t.TempDir()
	w, err := watch.New(dir, "f")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	empty = w.Look()
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, i+1), 0o600); err != nil {
			t.Fatal(err)
		}
		filled = append(filled, w.Look())
	}
	return empty, filled
}

var (
	notReady = fault.Wrap(fault.NotReady, errors.New("registry down"))
	refused  = fault.Wrap(fault.Invalid, errors.New("line 1"))
	errFull  = errors.New("disk full")
)

// story runs a loop whose n-th run takes a second and ends as ends says (the last
// one for ever), and returns what happened when.
func story(t *testing.T, ends []End, begin watch.State, happen map[time.Duration]watch.State, stopAt time.Duration) (said []string, result error) {
	t.Helper()
	return storyOf(t, func() []End { return ends }, begin, happen, stopAt)
}

// storyOf is story with ends that are made within the test's clock.
func storyOf(t *testing.T, endings func() []End, begin watch.State, happen map[time.Duration]watch.State, stopAt time.Duration) (said []string, result error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ends := endings()
		m := &mount{changes: make(chan struct{}, 1)}
		m.set(begin)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		say := func(format string, args ...any) {
			said = append(said, fmt.Sprintf("%s ", time.Since(began))+fmt.Sprintf(format, args...))
		}
		for after, state := range happen {
			time.AfterFunc(after, func() { m.set(state) })
		}
		if stopAt > 0 {
			time.AfterFunc(stopAt, cancel)
		}
		loop := New(Options{
			Source: m, HostPatience: 30 * time.Minute,
			Run: func(ctx context.Context, try Try) End {
				say("run %d", try.Number)
				end := ends[min(try.Number, len(ends))-1]
				select {
				case <-ctx.Done():
					return End{Err: ctx.Err()}
				case <-time.After(time.Second):
				}
				try.Next(end) // as for the record; the plan must not move by it
				return end
			},
			Waiting:   func(e End, d time.Duration) { say("wait %s: %v", d, e.Err) },
			Owing:     func(End) { say("owing") },
			Recovered: func(End) { say("recovered") },
			Gone:      func(End) { say("gone") },
			Jitter:    func(d time.Duration) time.Duration { return d },
		})
		result = loop.Run(ctx)
		say("end: %v", result)
	})
	return said, result
}

func TestLoop(t *testing.T) {
	empty, files := states(t, 3)
	const s, ms = time.Second, time.Millisecond
	for _, test := range []struct {
		name   string
		ends   []End
		begin  watch.State
		happen map[time.Duration]watch.State
		stopAt time.Duration
		want   []string
	}{
		{
			name: "success ends at once", ends: []End{{}}, begin: files[0],
			want: []string{"0s run 1", "1s end: <nil>"},
		},
		{
			name: "permanent failure ends at once", ends: []End{{Err: refused}}, begin: files[0],
			want: []string{"0s run 1", "1s end: line 1"},
		},
		{
			name: "not ready is tried at growing intervals", ends: []End{{Err: notReady}, {Err: notReady}, {Err: notReady}, {}}, begin: files[0],
			want: []string{
				"0s run 1", "1s wait 5s: registry down", "6s run 2", "7s wait 10s: registry down",
				"17s run 3", "18s wait 20s: registry down", "38s run 4", "39s end: <nil>",
			},
		},
		{
			name: "what may need a person is tried slowly", ends: []End{{Err: errFull}, {}}, begin: files[0],
			want: []string{"0s run 1", "1s wait 1m0s: disk full", "1m1s run 2", "1m2s end: <nil>"},
		},
		{
			name: "a change ends the wait and the growth", ends: []End{{Err: notReady}, {Err: notReady}, {Err: notReady}, {}}, begin: files[0],
			happen: map[time.Duration]watch.State{9 * s: files[1]},
			want: []string{
				"0s run 1", "1s wait 5s: registry down", "6s run 2", "7s wait 10s: registry down",
				"9s run 3", "10s wait 5s: registry down", "15s run 4", "16s end: <nil>",
			},
		},
		{
			name: "news of nothing changes nothing", ends: []End{{Err: notReady}, {}}, begin: files[0],
			happen: map[time.Duration]watch.State{3 * s: files[0]},
			want:   []string{"0s run 1", "1s wait 5s: registry down", "6s run 2", "7s end: <nil>"},
		},
		{
			name: "changes during a run lead to one more", ends: []End{{}, {}}, begin: files[0],
			happen: map[time.Duration]watch.State{200 * ms: files[1], 900 * ms: files[2]},
			want:   []string{"0s run 1", "1s run 2", "2s end: <nil>"},
		},
		{
			name: "a change during a failing run is not waited for", ends: []End{{Err: notReady}, {}}, begin: files[0],
			happen: map[time.Duration]watch.State{500 * ms: files[1]},
			want:   []string{"0s run 1", "1s run 2", "2s end: <nil>"},
		},
		{
			name: "a permanent failure whose input was corrected meanwhile", ends: []End{{Err: refused}, {}}, begin: files[0],
			happen: map[time.Duration]watch.State{500 * ms: files[1]},
			want:   []string{"0s run 1", "1s run 2", "2s end: <nil>"},
		},
		{
			name: "mount taken away during the wait", ends: []End{{Err: notReady}}, begin: files[0],
			happen: map[time.Duration]watch.State{3 * s: empty},
			want:   []string{"0s run 1", "1s wait 5s: registry down", "3.5s gone", "3.5s end: <nil>"},
		},
		{
			name: "mount taken away and put back", ends: []End{{Err: notReady}, {}}, begin: files[0],
			happen: map[time.Duration]watch.State{3 * s: empty, 3300 * ms: files[1]},
			want:   []string{"0s run 1", "1s wait 5s: registry down", "3.3s run 2", "4.3s end: <nil>"},
		},
		{
			name: "mount taken away during a run that ends well", ends: []End{{}}, begin: files[0],
			happen: map[time.Duration]watch.State{500 * ms: empty},
			want:   []string{"0s run 1", "1s end: <nil>"},
		},
		{
			name: "mount taken away during a run that is not ready", ends: []End{{Err: notReady}}, begin: files[0],
			happen: map[time.Duration]watch.State{500 * ms: empty},
			want:   []string{"0s run 1", "1.5s gone", "1.5s end: <nil>"},
		},
		{
			name: "a file that this guest must not open is waited for", ends: []End{{Err: refused, Blind: true}, {}}, begin: files[0],
			happen: map[time.Duration]watch.State{7 * s: files[1]},
			want:   []string{"0s run 1", "1s wait 5m0s: line 1", "7s run 2", "8s end: <nil>"},
		},
		{
			name: "never a mount", ends: []End{{Err: notReady}}, begin: empty,
			want: []string{"0s run 1", "1s end: registry down"},
		},
		{
			name: "interrupted while it waits", ends: []End{{Err: notReady}}, begin: files[0], stopAt: 2 * s,
			want: []string{"0s run 1", "1s wait 5s: registry down", "2s end: context canceled"},
		},
		{
			name: "interrupted in a run", ends: []End{{}}, begin: files[0], stopAt: 500 * ms,
			want: []string{"0s run 1", "500ms end: context canceled"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _ := story(t, test.ends, test.begin, test.happen, test.stopAt)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestStaysForSystemdToMerge: a run that a change began, and that takes less
// than systemd to hear of the same change, must outlast it.
func TestStaysForSystemdToMerge(t *testing.T) {
	_, files := states(t, 3)
	synctest.Test(t, func(t *testing.T) {
		m := &mount{changes: make(chan struct{}, 1)}
		m.set(files[0])
		began, runs := time.Now(), 0
		loop := New(Options{Source: m, Run: func(context.Context, Try) End {
			if runs++; runs <= 2 {
				m.set(files[runs])
			}
			return End{}
		}})
		if err := loop.Run(t.Context()); err != nil || runs != 3 {
			t.Fatalf("%d runs, %v, want 3", runs, err)
		}
		if took := time.Since(began); took != settleTime {
			t.Errorf("it stayed for %s, want %s", took, settleTime)
		}
	})
}

func TestUnreachedHostIsTriedForAWhile(t *testing.T) {
	_, files := states(t, 1)
	said, err := story(t, []End{{Unreached: true}}, files[0], nil, 0)
	if err != nil {
		t.Error(err)
	}
	if last := said[len(said)-1]; len(said) != 22 || last != "25m26s end: <nil>" {
		t.Errorf("%d entries, last %q:\n%q", len(said), last, said)
	}
}

// TestStale: a wait inside a run hears of the change.
func TestStale(t *testing.T) {
	_, files := states(t, 2)
	synctest.Test(t, func(t *testing.T) {
		m := &mount{changes: make(chan struct{}, 1)}
		m.set(files[0])
		time.AfterFunc(time.Second, func() { m.set(files[1]) })
		began := time.Now()
		loop := New(Options{Source: m, Run: func(_ context.Context, try Try) End {
			if try.Number == 1 {
				<-try.Stale
				if took := time.Since(began); took != time.Second {
					t.Errorf("told after %s", took)
				}
			}
			return End{}
		}})
		if err := loop.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestJitterTakesAwayATenthAtMost(t *testing.T) {
	l := New(Options{})
	for range 100 {
		l.pause = 0
		if d := l.plan(End{Err: notReady}); d > firstPause || d < firstPause-firstPause/10 {
			t.Fatalf("%s, want %s or up to a tenth less", d, firstPause)
		}
	}
}

// TestLoopStaysUntilTheHostKnows guards against a process that ends with the last
// report in its hands because the host was stopped for some seconds.
func TestLoopStaysUntilTheHostKnows(t *testing.T) {
	_, files := states(t, 2)
	const s = time.Second
	for _, test := range []struct {
		name   string
		err    error
		told   time.Duration // when the host knows; 0: never
		happen map[time.Duration]watch.State
		want   []string
	}{
		{name: "told at once", told: 1500 * time.Millisecond, want: []string{"0s run 1", "1.5s end: <nil>"}},
		{name: "told late", told: 7 * s, want: []string{"0s run 1", "2s owing", "7s end: <nil>"}},
		{name: "told late of a failure", err: refused, told: 7 * s, want: []string{"0s run 1", "2s owing", "7s end: line 1"}},
		{name: "never told", want: []string{"0s run 1", "2s owing", "30m2s end: <nil>"}},
		{
			name: "a change ends the wait", happen: map[time.Duration]watch.State{5 * s: files[1]},
			want: []string{"0s run 1", "2s owing", "5s run 2", "7s owing", "30m7s end: <nil>"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			said, _ := storyOf(t, func() []End {
				owed := make(chan struct{})
				if test.told > 0 {
					time.AfterFunc(test.told, func() { close(owed) })
				}
				return []End{{Err: test.err, Owed: owed}}
			}, files[0], test.happen, 0)
			if diff := cmp.Diff(test.want, said); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRecoveredEndsTheWait: what the run waited for has come by itself.
func TestRecoveredEndsTheWait(t *testing.T) {
	_, files := states(t, 1)
	said, err := storyOf(t, func() []End {
		recovered := make(chan struct{})
		time.AfterFunc(8*time.Second, func() { close(recovered) })
		return []End{{Err: notReady}, {Err: notReady, Recovered: recovered}, {}}
	}, files[0], nil, 0)
	want := []string{"0s run 1", "1s wait 5s: registry down", "6s run 2", "7s wait 10s: registry down", "8s recovered", "8s run 3", "9s end: <nil>"}
	if diff := cmp.Diff(want, said); diff != "" || err != nil {
		t.Errorf("error %v\n%s", err, diff)
	}
}
