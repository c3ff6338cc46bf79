package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/fault"
)

// Daemon is a long-running child. It dies with this process, whatever kills it.
type Daemon struct {
	name string
	cmd  *exec.Cmd
	log  string        // file that holds its output
	done chan struct{} // closed when it has ended
	err  error         // of Wait; valid after done
}

// StartDaemon starts cmd in a process group of its own, so that a Ctrl-C at
// the terminal reaches the command under test first, with its output in logFile.
func StartDaemon(name string, cmd *exec.Cmd, logFile string) (*Daemon, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	d := &Daemon{name: name, cmd: cmd, log: logFile, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the parent death signal when the *thread* that
		// started the child ends, so this one stays for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = out.Close() // the child has its own descriptor
		started <- err
		if err == nil {
			d.err = cmd.Wait()
			close(d.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return d, nil
}

// Wait calls ready every 20 ms until it returns nil, the daemon has ended, or
// the deadline of ctx is over. The error then quotes the end of the daemon's log.
func (d *Daemon) Wait(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-d.done:
			return fault.Errorf(fault.NotReady, "%s ended at once: %w\n%s", d.name, d.err, d.Tail())
		case <-ctx.Done():
			return fault.Errorf(fault.NotReady, "%s does not answer: %w (%w)\n%s", d.name, err, context.Cause(ctx), d.Tail())
		case <-tick.C:
		}
	}
}

// PID returns the daemon's process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Stop asks the daemon to end, and kills it when it has not within grace.
func (d *Daemon) Stop(grace time.Duration) error {
	select {
	case <-d.done:
		return fmt.Errorf("%s had ended before it was stopped: %w\n%s", d.name, errOr(d.err, "status 0"), d.Tail())
	default:
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", d.name, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-d.done:
		return nil
	case <-timer.C:
	}
	err := d.cmd.Process.Kill()
	<-d.done
	return errors.Join(fmt.Errorf("%s did not stop within %v and was killed\n%s", d.name, grace, d.Tail()), err)
}

// Kill ends the daemon by SIGKILL. It returns an error if the daemon had ended already.
func (d *Daemon) Kill() error {
	select {
	case <-d.done:
		return fmt.Errorf("%s had ended before it was killed: %w\n%s", d.name, errOr(d.err, "status 0"), d.Tail())
	default:
	}
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", d.name, err)
	}
	<-d.done
	return nil
}

// StopAnyway stops a daemon whose failure is being reported already.
func (d *Daemon) StopAnyway() error {
	select {
	case <-d.done:
		return nil
	default:
		return d.Stop(5 * time.Second)
	}
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// Tail returns the end of the daemon's log, for an error message.
func (d *Daemon) Tail() string {
	data, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	return filepath.Base(d.log) + ": " + strings.Join(lines, "\n"+filepath.Base(d.log)+": ")
}
