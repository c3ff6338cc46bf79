package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/isolate"
)

// hostFault is a fault of a host whose guests run. make and repair act on the host
// beside the daemon.
type hostFault struct {
	name   string
	make   func(t *testing.T, h *faultyHost)
	repair func(t *testing.T, h *faultyHost)
	// What doctor says of it, and its remedy.
	check  string
	result checks.Result
	reason string
	remedy string
	// answers is what guests get meanwhile: status of GET /guest and of POST
	// /reports; 0: no answer.
	guest, report int
}

// faultyHost is a daemon in a process of its own, with one guest.
type faultyHost struct {
	*bed
	daemon *process
	boot   contract.Bootstrap
	mount  []byte // bootstrap.json of the guest, before the fault
	sent   int    // reports that were acknowledged
	tmpfs  string // the directory that has the state

	release func() error // of holdKeys
}

// startFaultyHost starts a host whose state is on a file system of its own.
func startFaultyHost(t *testing.T) *faultyHost {
	t.Helper()
	b := newBed(t)
	h := &faultyHost{bed: b, tmpfs: filepath.Join(b.dir, "state")}
	must(t, os.Mkdir(h.tmpfs, 0o700))
	if err := unix.Mount("tmpfs", h.tmpfs, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Fatalf("mount a tmpfs: %v; this test needs root", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(h.tmpfs, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	records := filepath.Join(h.tmpfs, "guests")
	must(t, os.Mkdir(records, 0o700), unix.Mount(records, records, "", unix.MS_BIND, ""))
	t.Cleanup(func() {
		if err := unix.Unmount(records, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h.daemon = b.startProcess(t)
	h.boot = b.add(t, "8200")
	mount, err := os.ReadFile(h.mountFile())
	must(t, err)
	h.mount = mount
	h.report(t, http.StatusNoContent) // the first use of the token is on disk
	return h
}

func (h *faultyHost) mountFile() string { return filepath.Join(h.dir, "mounts/8200/bootstrap.json") }

// ask makes one request of the guest; 0 means that there was no answer.
func (h *faultyHost) ask(t *testing.T, method, path, body string) (status int, retryAfter string) {
	t.Helper()
	c := client(t, h.boot) // a new connection each time
	r, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+h.boot.LocalAPIToken.Reveal())
	r.Header.Set("Content-Type", "application/json")
	res, err := answerOf(c, r)
	if err != nil {
		return 0, ""
	}
	must(t, res.Body.Close())
	return res.StatusCode, res.Header.Get("Retry-After")
}

// report sends the next report, and counts it if it was acknowledged.
func (h *faultyHost) report(t *testing.T, want int) {
	t.Helper()
	// More than what is left of a page that the log has already.
	body := fmt.Sprintf(`{"run":"r","sequence":%d,"time":"2026-03-01T12:00:03Z","step":"run","state":"done","result":"changed","message":%q,"hint":%[2]q}`, h.sent+1, strings.Repeat("x", 2000))
	status, retryAfter := h.ask(t, http.MethodPost, contract.PathReports, body)
	if status != want {
		t.Errorf("a report is answered with %d, want %d", status, want)
	}
	if status == http.StatusServiceUnavailable && retryAfter == "" {
		t.Error("503 without Retry-After: the guest does not know when to send the report again")
	}
	if status == http.StatusNoContent {
		h.sent++
	}
}

// assertKept checks that the host has each report that it acknowledged, and the
// guest what it had.
func (h *faultyHost) assertKept(t *testing.T, when string) {
	t.Helper()
	store, err := guests.Open(filepath.Join(h.dir, "state/guests"), filepath.Join(h.dir, "state"), time.Now)
	must(t, err)
	defer func() { must(t, store.Close()) }()
	if p, err := store.Progress(8200); err != nil || p.Sequence != uint64(h.sent) {
		t.Errorf("%s: reports up to %d, %v, want %d", when, p.Sequence, err, h.sent)
	}
	if data, err := os.ReadFile(h.mountFile()); err != nil || !bytes.Equal(data, h.mount) {
		t.Errorf("%s: the guest's bootstrap.json changed: %v", when, err)
	}
}

// remount changes the mount of the records.
func (h *faultyHost) remount(t *testing.T, flags uintptr) {
	t.Helper()
	must(t, unix.Mount("", filepath.Join(h.tmpfs, "guests"), "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""))
}

// fill writes a file until the state's file system is full.
func (h *faultyHost) fill(t *testing.T) {
	t.Helper()
	f, err := os.Create(filepath.Join(h.tmpfs, "ballast"))
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if closeErr := f.Close(); !errors.Is(err, unix.ENOSPC) || closeErr != nil {
		t.Fatalf("fill the file system: %v, %v, want no space left", err, closeErr)
	}
}

// certifyTomorrow writes a certificate of the current key that is valid from
// tomorrow on, as a host does whose clock was ahead.
func (h *faultyHost) certifyTomorrow(t *testing.T) {
	t.Helper()
	dir := filepath.Join(h.dir, "state/tls")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "current.crt"), filepath.Join(dir, "current.key"))
	must(t, err)
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("the key is a %T", pair.PrivateKey)
	}
	leaf := *pair.Leaf
	leaf.SerialNumber, leaf.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, &leaf, &leaf, key.Public(), key)
	must(t, err, os.WriteFile(filepath.Join(dir, "current.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
}

func (h *faultyHost) releaseKeys(t *testing.T) {
	t.Helper()
	must(t, h.release())
}

func (h *faultyHost) restart(t *testing.T) {
	t.Helper()
	h.daemon.end(t, os.Interrupt)
	h.daemon = h.startProcess(t)
}

// hostFaults returns the table; into key comes the host's key that one of them damages.
func hostFaults(key *[]byte) []hostFault {
	stays := func(*testing.T, *faultyHost) {}
	return []hostFault{
		{
			name:   "killed",
			make:   func(t *testing.T, h *faultyHost) { h.daemon.end(t, os.Kill) },
			repair: func(t *testing.T, h *faultyHost) { h.daemon = h.startProcess(t) },
			check:  "daemon", result: checks.Failed, reason: "does not serve", remedy: "systemctl start felhom-agentd",
		},
		{
			name:   "stopped",
			make:   func(t *testing.T, h *faultyHost) { h.daemon.end(t, os.Interrupt) },
			repair: func(t *testing.T, h *faultyHost) { h.daemon = h.startProcess(t) },
			check:  "daemon", result: checks.Failed, reason: "does not serve", remedy: "systemctl start felhom-agentd",
		},
		{
			name: "disk full", make: func(t *testing.T, h *faultyHost) { h.fill(t) },
			repair: func(t *testing.T, h *faultyHost) { must(t, os.Remove(filepath.Join(h.tmpfs, "ballast"))) },
			check:  "store", result: checks.Failed, reason: "no space left on device", remedy: "free space",
			guest: 200, report: 503,
		},
		{
			name: "store read-only", make: func(t *testing.T, h *faultyHost) { h.remount(t, unix.MS_RDONLY) },
			repair: func(t *testing.T, h *faultyHost) { h.remount(t, 0) },
			check:  "store", result: checks.Failed, reason: "read-only file system", remedy: "mount options",
			guest: 200, report: 204, // reports are in another directory
		},
		{
			name: "clock went back", make: func(t *testing.T, h *faultyHost) { h.certifyTomorrow(t); h.restart(t) },
			repair: stays,
			// The daemon makes another certificate of the same key, which guests pin.
			check: "pins", result: checks.OK, reason: "1 mounts pin it",
			guest: 200, report: 204,
		},
		{
			name: "certificate of tomorrow", make: func(t *testing.T, h *faultyHost) { h.release = h.holdKeys(t); h.certifyTomorrow(t) },
			repair: func(t *testing.T, h *faultyHost) { h.releaseKeys(t); h.restart(t) },
			check:  "clock", result: checks.Failed, reason: "before its own certificate was made", remedy: "set the clock",
			guest: 200, report: 204,
		},
		{
			name: "certificate damaged",
			make: func(t *testing.T, h *faultyHost) {
				h.release = h.holdKeys(t)
				must(t, os.WriteFile(filepath.Join(h.dir, "state/tls/current.crt"), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n"), 0o644))
			},
			repair: func(t *testing.T, h *faultyHost) { h.releaseKeys(t); h.restart(t) },
			check:  "pins", result: checks.Failed, reason: "current.crt", remedy: "restart felhom-agentd",
			guest: 200, report: 204,
		},
		{
			name: "key damaged",
			make: func(t *testing.T, h *faultyHost) {
				name := filepath.Join(h.dir, "state/tls/current.key")
				data, err := os.ReadFile(name)
				*key = data
				must(t, err, os.WriteFile(name, data[:40], 0o600))
			},
			repair: func(t *testing.T, h *faultyHost) {
				must(t, os.WriteFile(filepath.Join(h.dir, "state/tls/current.key"), *key, 0o600))
				h.restart(t)
			},
			check: "store", result: checks.Failed, reason: "current.key", remedy: "from a backup",
			guest: 200, report: 204,
		},
		{
			name:   "reports directory gone",
			make:   func(t *testing.T, h *faultyHost) { must(t, os.RemoveAll(filepath.Join(h.dir, "state/reports"))) },
			repair: stays, check: "store", result: checks.Failed, reason: "directory of the guests' reports was removed", remedy: "from a backup",
			guest: 200, report: 204,
		},
	}
}

// Guests keep what they have, nothing that was acknowledged is lost, and doctor
// names the fault with a remedy.
func TestHostFaults(t *testing.T) {
	t.Parallel()
	if !isolate.Test(t) {
		return
	}
	var key []byte
	for _, f := range hostFaults(&key) {
		t.Run(f.name, func(t *testing.T) {
			h := startFaultyHost(t)
			f.make(t, h)
			_, report, text := h.doctor(t, "--timeout", "60s")
			row := rowSaying(t, report, f.check, f.reason)
			if row.Result != f.result || !strings.Contains(row.Reason, f.reason) || !strings.Contains(row.Remedy, f.remedy) {
				t.Errorf("doctor says %+v, want %s with %q and %q", row, f.result, f.reason, f.remedy)
			}
			if strings.Contains(text, h.boot.LocalAPIToken.Reveal()) || len(key) > 0 && strings.Contains(text, string(key[30:40])) {
				t.Errorf("a secret is printed:\n%s", text)
			}
			if status, _ := h.ask(t, http.MethodGet, contract.PathGuest, ""); status != f.guest {
				t.Errorf("the guest is answered with %d, want %d:\n%s", status, f.guest, h.logs)
			}
			h.report(t, f.report)
			f.repair(t, h)
			if status, _ := h.ask(t, http.MethodGet, contract.PathGuest, ""); status != http.StatusOK {
				t.Errorf("afterwards the guest is answered with %d, want 200:\n%s", status, h.logs)
			}
			h.report(t, http.StatusNoContent)
			h.assertKept(t, "afterwards")
			h.restart(t)
			h.assertKept(t, "after a restart")
		})
	}
}
