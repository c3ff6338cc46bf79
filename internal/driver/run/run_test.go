package run_test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

func TestRunKeepsOutputAndStatus(t *testing.T) {
	res, err := run.Run(t.Context(), run.Cmd{Path: "sh", Args: []string{"-c", "cat; echo talk >&2; exit 7"}, Stdin: strings.NewReader("data")})
	var failed *run.Error
	if !errors.As(err, &failed) {
		t.Fatalf("error is %T %v, want *run.Error", err, err)
	}
	if failed.ExitCode != 7 || res.ExitCode != 7 {
		t.Errorf("exit codes %d and %d, want 7", failed.ExitCode, res.ExitCode)
	}
	if got := string(res.Stdout); got != "data" {
		t.Errorf("stdout %q, want data", got)
	}
	want := "sh -c 'cat; echo talk >&2; exit 7': exit status 7\ntalk"
	if err.Error() != want {
		t.Errorf("error\n%s\nwant\n%s", err, want)
	}
}

func TestRunPassesWritersAndEnvironment(t *testing.T) {
	var stdout, stderr bytes.Buffer
	_, err := run.Run(t.Context(), run.Cmd{
		Path: "sh", Args: []string{"-c", `printf %s "$A"; pwd >&2`}, Env: []string{"A=x y"}, Dir: "/usr",
		Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "x y" || stderr.String() != "/usr\n" {
		t.Errorf("stdout %q stderr %q", stdout.String(), stderr.String())
	}
}

func TestRunRefusesEndlessStdout(t *testing.T) {
	_, err := run.Run(t.Context(), run.Cmd{Path: "sh", Args: []string{"-c", "while :; do printf %0100000d 0; done"}})
	if err == nil || !strings.Contains(err.Error(), "bytes on stdout") {
		t.Errorf("error %v, want the stdout limit", err)
	}
}

func TestRunCutsStderrToItsEnd(t *testing.T) {
	_, err := run.Run(t.Context(), run.Cmd{Path: "sh", Args: []string{"-c", "printf %010000d 0 >&2; echo last >&2; exit 1"}})
	if err == nil || !strings.HasSuffix(err.Error(), "last") || len(err.Error()) > 4096 {
		t.Errorf("error of %d bytes: %.80s", len(err.Error()), err)
	}
}

// A host that is busy for some seconds hands the output over late.
func TestRunWaitsForLateOutput(t *testing.T) {
	t.Parallel()
	late := &lateWriter{}
	if _, err := run.Run(t.Context(), run.Cmd{Path: "echo", Args: []string{"done"}, Stdout: late}); err != nil || late.got != "done\n" {
		t.Errorf("got %q, error %v", late.got, err)
	}
}

type lateWriter struct{ got string }

func (w *lateWriter) Write(b []byte) (int, error) {
	<-time.After(6 * time.Second) // longer than a program may run after SIGTERM
	w.got += string(b)
	return len(b), nil
}

// A program that minds no SIGTERM is killed with its children.
func TestRunKillsWhatStays(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := run.Run(ctx, run.Cmd{Path: "sh", Args: []string{"-c", "trap '' TERM; sleep 120 & sleep 120"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
	if d := time.Since(start); d > 50*time.Second {
		t.Errorf("took %v: SIGKILL did not end it", d)
	}
}

func TestRunEndsTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	// The grandchild holds stdout open: without the group kill, Run would
	// return only after WaitDelay.
	_, err := run.Run(ctx, run.Cmd{Path: "sh", Args: []string{"-c", "sleep 60 & sleep 60"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("took %v: the grandchild was left alone", d)
	}
}

func TestIsNotFound(t *testing.T) {
	_, err := run.Run(t.Context(), run.Cmd{Path: "no-such-program-felhom"})
	if !run.IsNotFound(err) || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error %v is not recognised", err)
	}
	_, err = run.Run(t.Context(), run.Cmd{Path: "false"})
	if err == nil || run.IsNotFound(err) {
		t.Errorf("error %v taken for a missing program", err)
	}
}

func TestQuoteSurvivesTheShell(t *testing.T) {
	for _, word := range []string{"", "plain", "a b", "it's", `"$HOME"`, "a;b", "*", "~", "#x", "new\nline", "ünï", "-n"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", run.Quote("printf", "%s", word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q came back as %q, %v", word, out, err)
		}
	}
}
