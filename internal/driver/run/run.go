// Package run starts programs, and is the only package of the product that
// does: call [Run]. Arguments are a slice and never pass through a shell,
// output is bounded, and an error has the command in a form that can be pasted,
// its exit status and the end of its stderr. It contains no program's name.
package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// MaxOutputBytes is how much of stdout and of stderr a Result keeps if Cmd has
// no writer. More is an error for stdout, which is data; of stderr, which is
// for people, the end is kept.
const MaxOutputBytes = 16 << 20

// stderrTail is how much of stderr an error quotes.
const stderrTail = 2 << 10

// killDelay is how long a program has between SIGTERM and SIGKILL once its
// context is done.
const killDelay = 5 * time.Second

// outputDelay is how long the output of a program that has ended may take to
// arrive: a busy host must not turn a success into an error. Only a child that
// was left behind with the pipe open makes Run wait so long.
const outputDelay = time.Minute

// Cmd is one program to run. Path is looked up in PATH unless it contains a
// slash.
type Cmd struct {
	Path   string
	Args   []string // without the program's name
	Env    []string // nil: this process's environment
	Dir    string   // "": this process's directory
	Stdin  io.Reader
	Stdout io.Writer // nil: kept in Result.Stdout
	Stderr io.Writer // nil: kept in Result.Stderr; errors quote its end in both cases
	// SysProcAttr is passed on unchanged; nil gives the child its own process
	// group and has the kernel kill it when this process dies.
	SysProcAttr *syscall.SysProcAttr
}

// Result is the result of a program. It is valid also with an error.
type Result struct {
	ExitCode int // -1 if it did not start or was killed by a signal
	Stdout   []byte
	Stderr   []byte
	User     time.Duration // CPU
	System   time.Duration // CPU
}

// Error is the error of a program that could not be started, failed, or was
// stopped.
type Error struct {
	Command  string // quoted for a POSIX shell
	ExitCode int    // -1: not started, or ended by a signal
	Stderr   string // the end of it
	Err      error  // *exec.ExitError, *exec.Error, or the context's cause
}

func (e *Error) Error() string {
	msg := fmt.Sprintf("%s: %v", e.Command, e.Err)
	if tail := strings.TrimSpace(e.Stderr); tail != "" {
		msg += "\n" + tail
	}
	return msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// IsNotFound reports whether err means that the program is not installed.
func IsNotFound(err error) bool {
	return errors.Is(err, exec.ErrNotFound)
}

// Find returns the path of the program that [Run] starts for name.
func Find(name string) (string, error) { return exec.LookPath(name) }

// Run runs c to its end. A status other than 0 is an [*Error]. When ctx is
// done, the child gets SIGTERM, after five seconds SIGKILL, and the error wraps
// the context's cause.
func Run(ctx context.Context, c Cmd) (Result, error) {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Env, cmd.Dir, cmd.Stdin = c.Env, c.Dir, c.Stdin
	cmd.SysProcAttr = c.SysProcAttr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	}
	var kill *time.Timer
	cmd.Cancel = func() error {
		kill = time.AfterFunc(killDelay, func() { _ = signal(cmd, syscall.SIGKILL) })
		return signal(cmd, syscall.SIGTERM)
	}
	cmd.WaitDelay = outputDelay
	// The kernel kills the child when the thread that started it ends, and a thread that a
	// goroutine has left locked ends with the goroutine. So this package keeps the thread until
	// the child has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	stdout := &limited{max: MaxOutputBytes}
	stderr := &tail{max: MaxOutputBytes}
	cmd.Stdout = c.Stdout
	if c.Stdout == nil {
		cmd.Stdout = stdout
	}
	quoted := &tail{max: stderrTail}
	cmd.Stderr = io.MultiWriter(stderr, quoted)
	if c.Stderr != nil {
		cmd.Stderr = io.MultiWriter(c.Stderr, quoted)
	}

	err := cmd.Run()
	if kill != nil { // Run has waited for the call of Cancel
		kill.Stop()
	}
	res := Result{ExitCode: -1, Stdout: stdout.buf.Bytes(), Stderr: stderr.buf}
	if st := cmd.ProcessState; st != nil {
		res.ExitCode, res.User, res.System = st.ExitCode(), st.UserTime(), st.SystemTime()
	}
	switch cause := context.Cause(ctx); {
	case err != nil && cause != nil:
		err = cause
	case stdout.over:
		// The child died of a closed pipe, which is only the symptom.
		err = fmt.Errorf("more than %d bytes on stdout", MaxOutputBytes)
	}
	if err != nil {
		return res, &Error{Command: Quote(c.Path, c.Args...), ExitCode: res.ExitCode, Stderr: string(quoted.buf), Err: err}
	}
	return res, nil
}

// signal reaches the whole process group where the child leads one: a program
// that left children behind must not outlive the command that was asked for.
func signal(cmd *exec.Cmd, sig syscall.Signal) error {
	if cmd.SysProcAttr.Setpgid {
		return syscall.Kill(-cmd.Process.Pid, sig)
	}
	return cmd.Process.Signal(sig)
}

// limited keeps at most max bytes and refuses more.
type limited struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.buf.Len()+len(p) > l.max {
		l.over = true
		return 0, io.ErrShortWrite
	}
	return l.buf.Write(p)
}

// tail keeps the last max bytes.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}
