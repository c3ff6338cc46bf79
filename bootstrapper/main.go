// Command felhom-controller-bootstrap turns the bootstrap.json that the host
// put into a guest's config mount into a running, healthy controller. This
// package owns the command line, the wiring and what is told to terminal,
// journal, systemd and host; the steps are in bootstrapper/internal/bootstrap.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker (-X main.version=…).
var version = "devel"

func main() {
	// A run is short and its heap small: a collection costs CPU and, with the
	// heap's doubling switched to a soft limit, saves nothing.
	debug.SetGCPercent(50)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
