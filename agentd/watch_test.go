package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a new terminal: what is written to program
// is read from screen.
func openTerminal(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return screen, program
}

func resize(t *testing.T, terminal *os.File, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// watch runs guest list --watch with stdout as it is given, and returns what is
// read from it; end wants it to end well at the signal.
func (b *bed) watch(t *testing.T, stdout, from *os.File) (shown *output, end func()) {
	t.Helper()
	shown = &output{}
	cmd := exec.Command(program, "--config", b.config, "guest", "list", "--watch")
	cmd.Stdout, cmd.Stderr = stdout, b.logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	go func() { _, _ = io.Copy(shown, from) }() // it ends with the file
	return shown, func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v:\n%s", err, b.logs)
			}
		case <-time.After(patience):
			t.Error(errors.Join(errors.New("it did not end"), cmd.Process.Kill()))
		}
	}
}

func eventually(t *testing.T, shown *output, what string, isSo func(text string) bool) {
	t.Helper()
	text := ""
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !isSo(text); <-tick.C {
		text = shown.String()
		if time.Now().After(end) {
			t.Fatalf("%s: not seen at the end of %q", what, text[max(len(text)-2000, 0):])
		}
	}
}

// On a terminal each table takes the place of the one before and no line is
// longer than the terminal is wide, also after it was resized; in a pipe the
// tables follow each other. Ctrl-C is the way to end both.
func TestGuestListWatch(t *testing.T) {
	t.Parallel()
	const clear = "\x1b[H\x1b[2J"
	b := startDaemonProcess(t)
	boot := b.add(t, "8200")
	report := `{"run":"r1","sequence":1,"time":"2026-03-01T12:00:00Z","step":"image","state":"failed","class":"not-ready","exit_code":5,"hint":"start it","message":"` + strings.Repeat("a very long text ", 20) + `"}`
	if got, answer := b.do(t, client(t, boot), "POST", "/reports", boot.LocalAPIToken.Reveal(), report); got != 204 {
		t.Fatalf("%d %s", got, answer)
	}
	tables := func(text, by string) []string { return strings.Split(text, by)[1:] }

	t.Run("terminal", func(t *testing.T) {
		screen, terminal := openTerminal(t)
		resize(t, terminal, 80)
		shown, end := b.watch(t, terminal, screen)
		widest := func(table string) (width int) {
			for line := range strings.Lines(table) {
				width = max(width, utf8.RuneCountInString(strings.TrimRight(line, "\r\n")))
			}
			return width
		}
		eventually(t, shown, "two tables", func(text string) bool { return len(tables(text, clear)) > 2 })
		for _, table := range tables(shown.String(), clear)[:2] {
			if !strings.Contains(table, "8200") || !strings.Contains(table, "failed: not-ready") || widest(table) > 80 {
				t.Errorf("want the guest in lines of 80 columns, got %q", table)
			}
		}
		b.add(t, "8201")
		resize(t, terminal, 40)
		eventually(t, shown, "a new guest, 40 columns", func(text string) bool {
			all := tables(text, clear)
			if len(all) < 2 {
				return false
			}
			last := all[len(all)-2] // the last may not be complete
			return strings.Contains(last, "8201") && widest(last) <= 40
		})
		end()
	})
	t.Run("pipe", func(t *testing.T) {
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = out.Close() })
		shown, end := b.watch(t, in, out)
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, shown, "two tables", func(text string) bool { return len(tables(text, "VMID")) > 1 })
		end()
		if text := shown.String(); strings.Contains(text, "\x1b") || !strings.Contains(text, "a very long text a very") {
			t.Errorf("want whole lines without escapes, got %q", text)
		}
	})
}
