package pct_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
)

// monitored is a node with one guest, whose monitor the test plays.
type monitored struct {
	dir  string
	vmid int
}

func newMonitored(t *testing.T, config string) monitored {
	t.Helper()
	m := monitored{t.TempDir(), 8200}
	if err := os.MkdirAll(filepath.Join(m.dir, "pve/lxc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "pve/lxc/8200.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	list := []byte(`{"version":1,"ids":{"8200":{"node":"pve","type":"lxc","version":1}}}`)
	if err := os.WriteFile(filepath.Join(m.dir, "pve/.vmlist"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m monitored) meter() *pct.Meter {
	return pct.NewMeter(pct.Options{PVEDir: filepath.Join(m.dir, "pve"), LXCDir: filepath.Join(m.dir, "lxc")})
}

// listen plays the monitor: it gives each connection to answer.
func (m monitored) listen(t *testing.T, answer func(net.Conn)) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", "@"+filepath.Join(m.dir, "lxc", strconv.Itoa(m.vmid), "command"))
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				answer(conn)
				_ = conn.Close()
			}()
		}
	}()
}

// saying answers a question for the init with that process.
func saying(pid uint64) func(net.Conn) {
	return func(conn net.Conn) {
		question := make([]byte, 16)
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		answer := make([]byte, 16)
		binary.NativeEndian.PutUint64(answer[8:], pid)
		_, _ = conn.Write(answer) // the meter may have given up
	}
}

// TestNoFiguresOfOddGuests: none of them fails a request or holds it up, and none
// gives figures of the host's own file systems.
func TestNoFiguresOfOddGuests(t *testing.T) {
	const config = "ostype: debian\nrootfs: local-lvm:vm-8200-disk-0,size=8G\n"
	for name, answer := range map[string]func(net.Conn){
		"no monitor":                nil,
		"this program's own":        saying(uint64(os.Getpid())),
		"a process of the host":     saying(1),
		"no process":                saying(0),
		"a number that is too high": saying(1 << 40),
		"a monitor that is silent":  func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		"a monitor that hangs up":   func(net.Conn) {},
		"half an answer":            func(conn net.Conn) { _, _ = conn.Write([]byte("12345678")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMonitored(t, config)
			if answer != nil {
				m.listen(t, answer)
			}
			began := time.Now()
			usage, err := m.meter().Storage(t.Context(), m.vmid)
			if !errors.Is(err, driver.ErrNoFigures) || usage != nil {
				t.Errorf("%+v, %v; want %v", usage, err, driver.ErrNoFigures)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
	m := newMonitored(t, config)
	if _, err := m.meter().Storage(t.Context(), 8201); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a guest that does not exist: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.meter().Storage(ctx, m.vmid); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up: %v", err)
	}
	none := pct.NewMeter(pct.Options{PVEDir: "/nonexistent", LXCDir: "/nonexistent"})
	if _, err := none.Storage(t.Context(), m.vmid); !errors.Is(err, driver.ErrNoFigures) {
		t.Errorf("a host without PVE: %v", err)
	}
}
