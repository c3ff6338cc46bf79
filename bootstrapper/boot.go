package main

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
)

// enginePIDFile is where dockerd writes its process ID, below the root
// directory.
const enginePIDFile = "/run/docker.pid"

// bootOf returns how long after the guest's init the run and dockerd began, nil
// if that is not known. A guest has no boot time of its own: the kernel's
// clocks run since the host's boot, and init is the first thing of the guest.
func bootOf(root string, started time.Time) *record.Boot {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return nil
	}
	began := time.Duration(now.Nano()) - time.Since(started)
	guest, ok := startOf(1)
	if !ok || began < guest {
		return nil
	}
	boot := &record.Boot{RunMS: milliseconds(began - guest)}
	text, err := os.ReadFile(filepath.Join(root, enginePIDFile))
	if err != nil {
		return boot // it has not started, or runs elsewhere
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return boot
	}
	if engine, ok := startOf(pid); ok && engine > guest {
		boot.EngineMS = milliseconds(engine - guest)
	}
	return boot
}

// startOf returns when a process of this guest began, on CLOCK_BOOTTIME.
func startOf(pid int) (time.Duration, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	return parseStart(string(text))
}

// parseStart reads field 22 of proc_pid_stat(5), in ticks of 10 ms. The name in
// parentheses may hold anything, so fields are counted from its end.
func parseStart(stat string) (time.Duration, bool) {
	const fieldsBehindName, tick = 22 - 3, 10 * time.Millisecond
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) <= fieldsBehindName {
		return 0, false
	}
	ticks, err := strconv.ParseInt(fields[fieldsBehindName], 10, 64)
	if err != nil || ticks < 0 || ticks > math.MaxInt64/int64(tick) {
		return 0, false
	}
	return time.Duration(ticks) * tick, true
}
