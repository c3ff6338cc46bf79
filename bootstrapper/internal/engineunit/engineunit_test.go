package engineunit

import (
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
