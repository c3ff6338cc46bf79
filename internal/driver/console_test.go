package driver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
)

func TestConsoleLines(t *testing.T) {
	cases := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"blank lines", "\r\n \n\t\n", nil},
		{"of systemd", "\x1b[0;32m  OK  \x1b[0m] Reached target\x1b[0;1;39m basic\x1b[0m.\r\n", []string{"OK ] Reached target basic."}},
		{"last line without an end", "a\nFailed to create control group inotify object: Too many open files", []string{"a", "Failed to create control group inotify object: Too many open files"}},
		{"title of the window", "\x1b]0;rm -rf\x07a\x1b]2;x\x1b\\b\n", []string{"ab"}},
		{"title without an end", "a\x1b]0;title\nb\n", []string{"a", "b"}},
		{"device control", "\x1bP+q544e\x1b\\a\n", []string{"a"}},
		{"short escapes", "\x1bca\x1b(Bb\x1b7\n", []string{"ab"}},
		{"escape at the end", "a\x1b", []string{"a"}},
		{"escape in an escape", "\x1b\x1b[[31mx\n", []string{"31mx"}},
		{"eight bit controls", "a\x9b31mb\xc2\x9b31m\n", []string{`a\x9b31mb\u009b31m`}},
		{"bell, backspace, NUL, DEL", "a\x07\x08\x00\x7fb\n", []string{`a\a\b\x00\x7fb`}},
		{"direction of text", "a\u202eb\u2066c\n", []string{`a\u202eb\u2066c`}},
		{"invisible", "a\u200bb\ufeff\u00a0c\n", []string{`a\u200bb\ufeff c`}},
		{"line separators", "a\u2028b\u0085c\n", []string{"a b c"}},
		{"written over", "10%\r50%\r100%\r\n", []string{"100%"}},
		{"letters", "Köln 東京\n", []string{"Köln 東京"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, driver.ConsoleLines([]byte(c.text))); d != "" {
				t.Errorf("want -, got +:\n%s", d)
			}
		})
	}
}

func TestConsoleIsBounded(t *testing.T) {
	lines := driver.ConsoleLines([]byte(strings.Repeat("x", 1<<20) + "\n" + strings.Repeat("line\n", 1000) + "last"))
	if len(lines) != 20 || lines[19] != "last" || lines[0] != "line" {
		t.Errorf("got %d lines: %.80q", len(lines), lines)
	}
	lines = driver.ConsoleLines([]byte(strings.Repeat("ö", 1<<20)))
	if len(lines) != 1 || len([]rune(lines[0])) != 240 {
		t.Errorf("of one long line got %.80q", lines)
	}
}

func FuzzConsoleLines(f *testing.F) {
	for _, s := range []string{"", "a\x1b[31mb\n", "\x1b]0;\x07", "\xff\xfe\r\n", "\u202e"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := driver.ConsoleLines(data)
		if len(lines) > 20 {
			t.Errorf("%d lines", len(lines))
		}
		for _, line := range lines {
			if bad := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); bad >= 0 || len([]rune(line)) > 240 {
				t.Errorf("line %q", line)
			}
		}
	})
}

// TestReadConsole: the guest's directory is its host's, but a console that
// something has replaced neither leads elsewhere nor holds the reader up.
func TestReadConsole(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "console.log")
	if lines, err := driver.ReadConsole(file); lines != nil || err != nil {
		t.Errorf("no file: %v, %v", lines, err)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 1<<20)+"\nend\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, err := driver.ReadConsole(file); err != nil || len(lines) != 1 || lines[0] != "end" {
		t.Errorf("got %.80q, %v", lines, err)
	}
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, link, dir} {
		if lines, err := driver.ReadConsole(path); err == nil {
			t.Errorf("%s: got %q, want an error", path, lines)
		}
	}
}
