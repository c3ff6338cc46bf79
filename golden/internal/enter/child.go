package enter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childName is argument 0 of pid 1. A user who types it gets a refusal: pid 1
// checks that it is one.
const childName = "felhom-golden-enter"

// scriptDir is where a handed-in script is; it is in memory, below /run.
const scriptDir = "/run/felhom-golden"

// MaybeChild is the first call of a main function (and of a TestMain) whose
// program uses this package: in a process that [Run] started it does the work
// of pid 1, and says so; the caller exits with the code. In any other process it
// does nothing.
func MaybeChild() (code int, isChild bool) {
	if len(os.Args) == 0 || os.Args[0] != childName {
		return 0, false
	}
	if os.Getpid() != 1 {
		return 1, true
	}
	// Nothing may stop pid 1 before its end: a terminal's Ctrl-C reaches the program
	// itself, and the caller, who then ends the lifeline. A handler and not
	// Ignore, which the program would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	// Those of this program, and those that the caller was handed by its own parent: an open
	// directory of this machine would be a way out of the root.
	if err := unix.CloseRange(fdOrder, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 1, true
	}
	report := json.NewEncoder(os.NewFile(fdOutcome, "outcome"))
	out := serveOrder(report)
	// If the caller is gone, no one needs the answer.
	_ = report.Encode(out)
	return 0, true
}

func serveOrder(report *json.Encoder) outcome {
	// Capabilities are a thread's, and a child has those of the thread that made it.
	runtime.LockOSThread()
	var ord order
	in := os.NewFile(fdOrder, "order")
	if err := json.NewDecoder(in).Decode(&ord); err != nil {
		return outcome{Error: fmt.Sprintf("read order: %v", err)}
	}
	_ = in.Close() // read to its end
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		_, _ = io.Copy(io.Discard, os.NewFile(fdLifeline, "lifeline")) // an end of any kind means the same
	}()
	m := &machine{ord: ord}
	defer m.removePlaceholders()
	if err := m.build(report); err != nil {
		return failure(err)
	}
	pid, err := launch(ord)
	if err != nil {
		return failure(err)
	}
	return supervise(pid, dead)
}

// failure turns an error into a report.
func failure(err error) outcome {
	var unfit *unfitError
	if errors.As(err, &unfit) {
		return outcome{Error: err.Error(), Hint: unfit.hint, Refused: true}
	}
	var lack *lackError
	if errors.As(err, &lack) {
		return outcome{Error: err.Error(), Hint: lack.hint}
	}
	return outcome{Error: err.Error()}
}

// unfitError says that root or program are not what can be run.
type unfitError struct {
	msg  string
	hint string
}

func (e *unfitError) Error() string { return e.msg }

func launch(ord order) (pid int, err error) {
	argv := ord.Argv
	if ord.Script {
		if err := writeScript(argv[0]); err != nil {
			return 0, err
		}
	}
	path, err := lookPath(argv[0], ord.Env)
	if err != nil {
		return 0, err
	}
	if info, err := os.Stat(ord.Dir); err != nil || !info.IsDir() {
		return 0, &unfitError{msg: fmt.Sprintf("start directory %s: want a directory of the root", ord.Dir)}
	}
	attr := &syscall.ProcAttr{Dir: ord.Dir, Env: ord.Env, Files: []uintptr{0, 1, 2}}
	pid, err = syscall.ForkExec(path, argv, attr)
	if errors.Is(err, syscall.ENOEXEC) {
		pid, err = syscall.ForkExec("/bin/sh", append([]string{"sh", path}, argv[1:]...), attr)
	}
	if err != nil {
		e := &unfitError{msg: fmt.Sprintf("start %s: %v", path, err)}
		if errors.Is(err, syscall.ENOENT) {
			e.hint = "the file is there, so it is its interpreter (first line, #!…) that the root lacks"
		}
		return 0, e
	}
	return pid, nil
}

func writeScript(path string) (err error) {
	if err := os.Mkdir(scriptDir, 0o755); err != nil {
		return fmt.Errorf("hand script in: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return fmt.Errorf("hand script in: %w", err)
	}
	src := os.NewFile(fdScript, "script")
	_, err = io.Copy(f, src)
	return errors.Join(err, f.Close(), src.Close())
}

func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if _, err := os.Stat(name); err != nil {
			return "", &unfitError{
				msg:  fmt.Sprintf("program %s: not in the root", name),
				hint: "run ROOT -- SCRIPT takes a script of this machine when it exists here, else a program of the root",
			}
		}
		return name, nil
	}
	search := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = v
		}
	}
	for _, dir := range filepath.SplitList(search) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &unfitError{msg: fmt.Sprintf("program %s: not in the root (searched %s)", name, search)}
}

// supervise reaps until the program has ended, then kills what it left behind.
// When dead is closed, the program is asked to end, then made to.
func supervise(pid int, dead <-chan struct{}) outcome {
	ended := make(chan int, 1)
	go func() { ended <- reapUntil(pid) }()
	code := 0
	select {
	case code = <-ended:
	case <-dead:
		_ = syscall.Kill(-1, syscall.SIGTERM) // every process but pid 1
		select {
		case <-ended:
		case <-time.After(termDelay):
		}
		code = -1
	}
	_ = syscall.Kill(-1, syscall.SIGKILL) // ESRCH: no process is left, as it should be
	reapUntil(0)
	return outcome{Code: code}
}

// reapUntil waits for children, orphans among them, until pid has ended (its
// status is returned) or there are none.
func reapUntil(pid int) int {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return -1
		case got != pid:
			continue
		case ws.Signaled():
			return 128 + int(ws.Signal())
		}
		return ws.ExitStatus()
	}
}
