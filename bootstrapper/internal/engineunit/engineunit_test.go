package engineunit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestState(t *testing.T) {
	const refusal = "unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid character 'x'"
	for name, test := range map[string]struct {
		log  string
		want State
	}{
		"its words":              {"time=1 level=info msg=\"Starting up\"\n" + refusal + "\n", State{true, "docker.service has failed: " + refusal, true}},
		"notes behind the words": {refusal + "\ntime=2 level=info msg=\"shutdown complete\"\n\n", State{true, "docker.service has failed: " + refusal, true}},
		"notes alone":            {"time=2 level=info msg=late\n", State{true, "docker.service has failed: time=2 level=info msg=late", true}},
		"crash":                  {"panic: \x1b[31mmoon\n\ngoroutine 1 [running]:\n\t/x.go:1\n", State{true, "docker.service has failed: panic: \\x1b[31mmoon", true}},
		"nothing":                {"", State{true, "docker.service has failed", false}},
	} {
		t.Run(name, func(t *testing.T) {
			u := Unit{Log: filepath.Join(t.TempDir(), "log")}
			if got, err := u.State(t.Context()); err != nil || got != (State{}) {
				t.Errorf("before a failure: %+v, %v", got, err)
			}
			if err := os.WriteFile(u.Log, []byte(test.log), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := u.State(t.Context()); err != nil || got != test.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

func TestLogIsBounded(t *testing.T) {
	u := Unit{Log: filepath.Join(t.TempDir(), "log")}
	if err := os.WriteFile(u.Log, []byte(strings.Repeat("x", 10*maxLine)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := u.State(t.Context()); err != nil || len(got.Text) > 2*maxLine || !got.Quoted {
		t.Errorf("%d bytes of a line, %v; want some and at most %d", len(got.Text), err, maxLine)
	}
	if err := os.WriteFile(u.Log, make([]byte, maxLog+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := u.State(t.Context()); err == nil {
		t.Errorf("%+v of a file that is too large", got)
	}
}

// The unit's result and its process's status are named, and nothing else is taken from their file.
func TestStateNamesResultAndStatus(t *testing.T) {
	for text, want := range map[string]string{
		"exit-code exited 1\n":         "docker.service has failed (exit-code, exited with 1)",
		"oom-kill killed KILL\n":       "docker.service has failed (oom-kill, killed with KILL)",
		"start-limit-hit\n":            "docker.service has failed (start-limit-hit)",
		"  \n":                         "docker.service has failed",
		"exit-code exited 1 2\n":       "docker.service has failed",
		"exit-code \x1b[31m 1\n":       "docker.service has failed",
		strings.Repeat("x", 2*maxWord): "docker.service has failed",
	} {
		dir := t.TempDir()
		u := Unit{Log: filepath.Join(dir, "log"), Status: filepath.Join(dir, "status")}
		if err := errors.Join(os.WriteFile(u.Log, nil, 0o600), os.WriteFile(u.Status, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if got, err := u.State(t.Context()); err != nil || got.Text != want || !got.Failed {
			t.Errorf("%q: got %+v, %v, want %q", text, got, err, want)
		}
	}
}
