package api_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/internal/driver"
)

// deadStorage answers until it hangs, as a network share whose server is gone.
type deadStorage struct {
	isDead atomic.Bool
	within atomic.Int32
	most   atomic.Int32
	end    chan struct{}
}

func (d *deadStorage) Storage(context.Context, int) ([]driver.Usage, error) {
	if d.isDead.Load() {
		n := d.within.Add(1)
		d.most.Store(max(n, d.most.Load()))
		<-d.end
		d.within.Add(-1)
	}
	return []driver.Usage{{Path: "/", Size: 100, Used: 10, Available: 90}}, nil
}

func TestStorageThatHangs(t *testing.T) {
	vmids := make([]int, 50)
	for i := range vmids {
		vmids[i] = 8200 + i
	}
	b := newBed(t, vmids...)
	d := &deadStorage{end: make(chan struct{})}
	b.Server = api.New(api.Options{
		Guests: b.store, Storage: d, HostID: "demo", Hosts: []string{hostPort}, ReportsPerMinute: 60, Now: b.clock, Event: func(api.Event) {},
	})
	first := b.tokens[vmids[0]].Reveal()
	if got := b.ask("GET", "/storage", first, ""); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	d.isDead.Store(true)
	before := runtime.NumGoroutine()
	var asking sync.WaitGroup
	started := time.Now()
	for range 4 {
		for _, vmid := range vmids {
			asking.Go(func() {
				got := b.ask("GET", "/storage", b.tokens[vmid].Reveal(), "")
				isKnown := vmid == vmids[0]
				if isKnown && (got.status != http.StatusOK || !strings.Contains(got.body, `"available_bytes":90`)) {
					t.Errorf("guest with figures: %d %s, want the last ones", got.status, got.body)
				}
				if !isKnown && (got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "") {
					t.Errorf("guest without figures: %d, Retry-After %q, want 503", got.status, got.header.Get("Retry-After"))
				}
			})
		}
	}
	asking.Wait()
	if took := time.Since(started); took > time.Minute {
		t.Errorf("the answers took %v", took)
	}
	for until := time.Now().Add(time.Minute); runtime.NumGoroutine()-before > 20 && time.Now().Before(until); {
		<-time.After(10 * time.Millisecond) // those of answers that were just given end
	}
	if n := runtime.NumGoroutine() - before; n > 20 || d.most.Load() > 8 {
		t.Errorf("%d goroutines and %d looks are held", n, d.most.Load())
	}
	b.advance(time.Hour)
	if got := b.ask("GET", "/storage", first, ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("with old figures: %d, want 503", got.status)
	}
	d.isDead.Store(false)
	close(d.end)
	deadline := time.Now().Add(time.Minute)
	for b.ask("GET", "/storage", first, "").status != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("the storage answers again, and the daemon does not")
		}
	}
}

// slowStorage has no figures of any guest, and takes its time to find that.
type slowStorage struct {
	began chan struct{}
	end   chan struct{}
}

func (s *slowStorage) Storage(_ context.Context, vmid int) ([]driver.Usage, error) {
	s.began <- struct{}{}
	<-s.end
	return nil, driver.NoGuest(vmid)
}

// A guest without figures is told so by a look that ended, however late, and does not get
// 503 for as long as the storage is slow.
func TestSlowStorageWithoutFigures(t *testing.T) {
	b := newBed(t, 8200)
	s := &slowStorage{began: make(chan struct{}, 9), end: make(chan struct{})}
	b.Server = api.New(api.Options{
		Guests: b.store, Storage: s, HostID: "demo", Hosts: []string{hostPort}, ReportsPerMinute: 60, Now: b.clock, Event: func(api.Event) {},
	})
	ask := func(when string, want int) {
		t.Helper()
		if got := b.ask("GET", "/storage", b.tokens[8200].Reveal(), ""); got.status != want {
			t.Errorf("%s: %d %s, want %d", when, got.status, got.body, want)
		}
	}
	ask("before a look has ended", http.StatusServiceUnavailable)
	<-s.began
	s.end <- struct{}{}
	for isNew := false; !isNew; { // until a look is under way that does not end
		ask("after a look", http.StatusOK)
		select {
		case <-s.began:
			isNew = true
		default:
		}
	}
	b.advance(time.Hour)
	ask("an hour later", http.StatusServiceUnavailable)
	close(s.end)
}
