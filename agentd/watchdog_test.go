package main

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// TestKeepAlivesStopWithTheAnswers: the first check succeeds, the second fails,
// and only the third, which succeeds again, is told of.
func TestKeepAlivesStopWithTheAnswers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	told := listenNotify(t, name)
	t.Setenv("NOTIFY_SOCKET", name)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var logs output
	asked, ended := 0, make(chan struct{})
	s := &service{logger: newLogger(&logs, logOptions{level: logrus.InfoLevel}), answering: func(context.Context) error {
		switch asked++; asked {
		case 2:
			return errors.New("store hangs")
		case 4:
			cancel()
			return context.Canceled
		}
		return nil
	}}
	go func() { defer close(ended); s.keepAlive(ctx, 10*time.Millisecond) }()
	<-ended
	s.notify("END=1")
	var got []string
	for len(got) == 0 || got[len(got)-1] != "END=1" {
		got = append(got, told())
	}
	if want := "WATCHDOG=1 WATCHDOG=1 END=1"; strings.Join(got, " ") != want {
		t.Errorf("systemd was told %q, want %q", got, want)
	}
	if n := strings.Count(logs.String(), "store hangs"); n != 1 {
		t.Errorf("the silence is logged %d times:\n%s", n, logs.String())
	}
}

func TestAnswering(t *testing.T) {
	t.Parallel()
	b := startDaemonProcess(t)
	health, listen := filepath.Join(b.dir, "health.sock"), strings.TrimPrefix(b.url, "https://")
	closing, silent := listenFor(t, func(c net.Conn) { _ = c.Close() }), listenFor(t, nil)
	for _, test := range []struct {
		name, health, listen, want string
	}{
		{"all answer", health, listen, ""},
		{"refused for too many connections", health, closing, ""},
		{"listener that accepts nothing", health, silent, "listener " + silent},
		{"no listener", health, "127.0.0.1:1", "connection refused"},
		{"no health socket", health + ".none", listen, "health socket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			limit := patience
			if test.listen == silent {
				limit = 10 * time.Second // it is waited for until then, after the health socket has answered
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := answering(ctx, test.health, []string{test.listen})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if strings.Contains(b.logs.String(), "connection failed") {
		t.Errorf("each check leaves a line in the log:\n%s", b.logs)
	}
}

// listenFor accepts connections for handle; nil accepts none.
func listenFor(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if handle != nil {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.CopyN(io.Discard, c, 1) // the client's first byte has come: the close does not refuse the dial
				handle(c)
			}
		}()
	}
	return l.Addr().String()
}
