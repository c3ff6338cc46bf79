// Command felhom-agentd is the daemon on the host: it knows the guests, fills
// their config mounts and serves them the local API. It executes nothing inside
// a guest. docs/agentd.md is its operator's page.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const program = "felhom-agentd"

// version is set by the linker (-X main.version=…).
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program without the process, so that tests can call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return int(newApp(stdout, stderr).Run(ctx, args))
}
