package soak

import (
	"math/rand/v2"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Kill starts cmd in a process group of its own and ends it by SIGKILL after a
// random part of full: every second time the process alone, as the kernel does when
// memory is short, else its whole group, as systemd does. It waits for the process, and
// returns what it did, for messages. A command that ended before is not an error.
func Kill(t testing.TB, cmd *exec.Cmd, random *rand.Rand, full time.Duration) (what string) {
	t.Helper()
	after, isGroup := time.Duration(random.Int64N(max(int64(full), 1))), random.IntN(2) == 0
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	// What outlives the process must not hold up the wait for it by an open pipe.
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-time.After(after) // a random place is what is tried
	pid, what := cmd.Process.Pid, "the process"
	if isGroup {
		pid, what = -pid, "the process group"
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	_ = cmd.Wait()                         // likewise
	return what + " killed after " + after.String()
}
