package engineunit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// FuzzState: what an engine wrote is shown in one line that harms no terminal and is
// bounded, and a file that systemd did not write is not quoted.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		"time=\"2026-11-26T10:00:00Z\" level=info msg=\"Starting up\"\nfailed to start daemon: Error initializing network controller: error obtaining controller instance: unable to add return rule in DOCKER-ISOLATION-STAGE-1 chain\n",
		"unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid character 'x'\n\n", "panic: runtime error\n\ngoroutine 1 [running]:\nmain.main()\n", "level=warning msg=a\nlevel=debug\n", "\x1b[2J\u202e\xff\n", strings.Repeat("x", 3*maxLine), "fatal error: \n",
	} {
		f.Add(s, "exit-code exited 1\n")
	}
	f.Add("x", "oom-kill killed KILL")
	f.Add("x", "a b c d")
	f.Add("x", "\x1b[2J")
	dir := f.TempDir()
	u := Unit{Log: filepath.Join(dir, "log"), Status: filepath.Join(dir, "status")}
	f.Fuzz(func(t *testing.T, log, status string) {
		for name, text := range map[string]string{u.Log: log, u.Status: status} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := u.State(t.Context())
		if err != nil {
			if s != (State{}) || len(log) <= maxLog {
				t.Errorf("%d bytes give %+v, %v", len(log), s, err)
			}
			return
		}
		if !s.Failed || strings.ContainsFunc(s.Text, func(r rune) bool { return !termtext.IsSafe(r) }) || strings.Contains(s.Text, "\n") || len(s.Text) > 4*maxLine+4*maxWord+100 {
			t.Errorf("%q and %q are %+v", log, status, s)
		}
		if isBlank := strings.TrimSpace(log) == ""; s.Quoted == isBlank && strings.Trim(log, " \t\r\n") == log {
			t.Errorf("%q is quoted: %v", log, s.Quoted)
		}
	})
}

func TestLogTakesTimeThatGrowsWithItsLength(t *testing.T) {
	fuzztest.Long(t, "", func(text string) { pick(text) })
}
