package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/soak"
)

// figuresFile names the file into which the daemon's process of [TestSoakDay] writes its own figures
// after SIGUSR1.
const figuresFile = "FELHOM_TEST_FIGURES"

// told is what only the process itself knows.
type told struct {
	Goroutines int    `json:"goroutines"`
	Heap       uint64 `json:"heap"` // in use after a collection
}

// giveFigures does nothing in processes of other tests.
func giveFigures() {
	name := os.Getenv(figuresFile)
	if name == "" {
		return
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC() // what the first one has made unreachable
			runtime.ReadMemStats(&m)
			data, err := json.Marshal(told{runtime.NumGoroutine(), m.HeapAlloc})
			root, rootErr := os.OpenRoot(filepath.Dir(name))
			if err := errors.Join(err, rootErr); err != nil {
				panic(err)
			}
			if err := errors.Join(atomicfile.Write(root, filepath.Base(name), data, atomicfile.Attr{Mode: 0o600}), root.Close()); err != nil {
				panic(err)
			}
		}
	}()
}

// figures are what must not grow.
type figures struct {
	told
	rss, descriptors, logged, disk int64
	// anon is rss without the pages of the program's file: the daemon unmaps these a second
	// after its start, and maps those again that it uses.
	anon int64
}

func (f figures) String() string {
	return fmt.Sprintf("memory %.1f MiB (%.1f MiB not of its file, heap %.2f MiB), %d descriptors, %d goroutines, store %d KiB on disk, log %d KiB",
		float64(f.rss)/(1<<20), float64(f.anon)/(1<<20), float64(f.Heap)/(1<<20), f.descriptors, f.Goroutines, f.disk>>10, f.logged>>10)
}

// day is the traffic of guests on a daemon in a process of its own.
type day struct {
	*crowd
	daemon   *process
	figures  string
	upstream *upstream
	polls    int // of a guest in an hour
	run      int
}

// TestSoakDay has guests poll, boot, report, pull and get new tokens, as long as they do in a
// day: memory, descriptors, goroutines, and the store on disk are at the end what they were
// after the first hours. With SOAK it is 200 guests and 24 hours with a poll in each minute,
// otherwise a small part of it.
func TestSoakDay(t *testing.T) {
	guests, total, polls := 12, 4, 10
	if soak.IsLong() {
		guests, total, polls = 200, 24, 60
	}
	up := startUpstream(t)
	b := newBed(t, up.proxyConfig(t, registrySecret))
	d := &day{crowd: &crowd{b: b}, upstream: up, polls: polls, figures: filepath.Join(b.dir, "figures.json")}
	t.Setenv(figuresFile, d.figures)
	for i := range guests {
		vmid := strconv.Itoa(8200 + i)
		d.join(t, d.parsed(t, b.add(t, vmid)))
	}
	d.daemon = b.startProcess(t)
	for i := range guests { // what the store has of a guest it has from its first reports on
		d.boot(t, i)
	}
	d.daemon.end(t, os.Interrupt) // its reports are in files
	d.daemon = b.startProcess(t)
	const first = 2 // hours until everything has had its first use
	var before, now figures
	started := time.Now()
	for hour := range total {
		d.hour(t, hour, total)
		if now = d.measure(t); hour == first-1 {
			before = now
		}
		t.Logf("after %d h (%.0f s): %s", hour+1, time.Since(started).Seconds(), now)
		if t.Failed() {
			return
		}
	}
	quiet := d.logs()
	d.poll(t)
	if more := d.logs() - quiet; more > 4<<10 {
		t.Errorf("polls alone fill the log: %d bytes for %d requests", more, guests*polls)
	}
	d.daemon.assertAlive(t, b.logs)
	// A connection that a busy machine has not ended yet is not one that stays.
	for deadline := time.Now().Add(time.Minute); len(grown(before, now)) > 0 && time.Now().Before(deadline); {
		now = d.measure(t)
	}
	for _, text := range grown(before, now) {
		t.Errorf("after %d and %d hours, %s: it grows", first, total, text)
	}
	t.Logf("%d guests, %d h, %d requests in %.0f s", guests, total, guests*total*polls, time.Since(started).Seconds())
}

// grown names the figures that are larger than before by more than chance.
func grown(before, now figures) (list []string) {
	for _, f := range []struct {
		name              string
		before, now, more int64
	}{
		{"heap", int64(before.Heap), int64(now.Heap), 2 << 20},
		{"memory", before.anon, now.anon, before.anon/5 + 8<<20},
		{"descriptors", before.descriptors, now.descriptors, 8},
		{"goroutines", int64(before.Goroutines), int64(now.Goroutines), 8},
		{"store on disk", before.disk, now.disk, 256 << 10},
	} {
		if f.now > f.before+f.more {
			list = append(list, fmt.Sprintf("%s: %d and %d", f.name, f.before, f.now))
		}
	}
	return list
}

func (d *day) parsed(t *testing.T, boot contract.Bootstrap) token.Token {
	t.Helper()
	tok, err := token.Parse(boot.LocalAPIToken.Reveal())
	must(t, err)
	return tok
}

// hour is one hour of all guests. Within a day each guest boots once, gets a new token once
// and pulls once.
func (d *day) hour(t *testing.T, hour, total int) {
	t.Helper()
	for i := range d.tokens {
		if i%total != hour {
			continue
		}
		vmid := strconv.Itoa(8200 + i)
		d.b.command(t, "guest", "rotate", vmid)
		boot := d.b.mounted(t, vmid)
		d.tokens[i] = d.parsed(t, boot)
		d.boot(t, i)
		t.Run("pull", func(t *testing.T) { // its connections end with it
			if _, err := pull(t, d.b, boot, "team/app:v1", boot.LocalAPIToken.Reveal()); err != nil {
				t.Errorf("guest %s: pull: %v", vmid, err)
			}
		})
		if t.Failed() {
			return
		}
	}
	d.poll(t)
}

// boot has a guest send all reports of a start.
func (d *day) boot(t *testing.T, i int) {
	t.Helper()
	d.run++
	for n := range crowdReports {
		d.askUntil(t, i, http.MethodPost, contract.PathReports, crowdReport(t, "run"+strconv.Itoa(d.run), n+1), http.StatusNoContent, http.StatusServiceUnavailable, http.StatusTooManyRequests)
	}
}

// poll has all guests poll for an hour.
func (d *day) poll(t *testing.T) {
	t.Helper()
	var asking sync.WaitGroup
	for i := range d.tokens {
		asking.Go(func() {
			for n := range d.polls {
				path := contract.PathGuest
				if n%10 == 9 {
					path = contract.PathStorage
				}
				d.askUntil(t, i, http.MethodGet, path, nil, http.StatusOK, http.StatusServiceUnavailable, http.StatusTooManyRequests)
			}
		})
	}
	asking.Wait()
}

// measure waits until the connections of the hour have ended, and takes the figures.
func (d *day) measure(t *testing.T) (f figures) {
	t.Helper()
	for _, c := range d.client {
		c.CloseIdleConnections()
	}
	proc := fmt.Sprintf("/proc/%d/", d.daemon.cmd.Process.Pid)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	// Two looks with the same number: none is being closed.
	for deadline, last := time.Now().Add(time.Minute), int64(-1); ; <-again.C {
		entries, err := os.ReadDir(proc + "fd")
		must(t, err)
		f.descriptors = int64(len(entries))
		if f.descriptors == last && f.descriptors < int64(len(d.tokens))/2+40 || time.Now().After(deadline) {
			break
		}
		last = f.descriptors
	}
	if err := os.Remove(d.figures); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	must(t, d.daemon.cmd.Process.Signal(syscall.SIGUSR1))
	for deadline := time.Now().Add(time.Minute); ; <-again.C {
		data, err := os.ReadFile(d.figures)
		if err == nil {
			must(t, json.Unmarshal(data, &f.told))
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the daemon does not write its figures: %v", err)
		}
	}
	f.rss, f.anon = memoryOf(t, proc+"status", "VmRSS:"), memoryOf(t, proc+"status", "RssAnon:")
	f.logged, f.disk = d.logs(), diskOf(t, filepath.Join(d.b.dir, "state"))
	return f
}

func (d *day) logs() int64 { return int64(len(d.b.logs.String())) }

// memoryOf returns a number of bytes of /proc/PID/status.
func memoryOf(t *testing.T, status, name string) int64 {
	t.Helper()
	file, err := os.Open(status)
	must(t, err)
	defer func() { must(t, file.Close()) }()
	for in := bufio.NewScanner(file); in.Scan(); {
		if rest, is := strings.CutPrefix(in.Text(), name); is {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			must(t, err)
			return kib << 10
		}
	}
	t.Fatalf("%s has no %s", status, name)
	return 0
}

// diskOf sums the files of the store. Two logs grow until they are emptied or replaced, by what is
// acknowledged and not by polls: that of reports, for 30 s, and that of changes, up to a limit.
func diskOf(t *testing.T, dir string) (sum int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a checkpoint has removed it
		}
		if err == nil && e.Type().IsRegular() && !strings.Contains(strings.TrimPrefix(path, dir), "log") {
			info, err := e.Info()
			if err == nil {
				sum += info.Size()
			}
			return nil //nolint:nilerr // likewise
		}
		return err
	}))
	return sum
}
