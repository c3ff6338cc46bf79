// Command measure runs a program and writes what it cost, as JSON, to a file:
// wall time, CPU time and peak resident memory of it and of the children it
// waited for. It is a small process of its own because Linux counts the memory
// of the process that starts a program as the program's: a large benchmark
// would drown what it measures.
//
//	measure RESULT-FILE PROGRAM [ARGUMENTS]
//
// Its exit status is 0 when the program could be started.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Cost is kept in step with the reader's in internal/e2e/bench.
type Cost struct {
	Wall     int64 `json:"wall_ns"`
	CPU      int64 `json:"cpu_ns"` // user and system
	RSS      int64 `json:"rss_kib"`
	ExitCode int   `json:"exit_code"`
}

func main() {
	if err := measure(os.Args); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func measure(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: measure RESULT-FILE PROGRAM [ARGUMENTS]")
	}
	start := time.Now()
	process, err := os.StartProcess(args[2], args[2:], &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	state, err := process.Wait()
	if err != nil {
		return err
	}
	cost := Cost{Wall: int64(time.Since(start)), CPU: int64(state.UserTime() + state.SystemTime()), ExitCode: state.ExitCode()}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		cost.RSS = usage.Maxrss
	}
	data, err := json.Marshal(cost)
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], data, 0o600)
}
