// Command felhom-golden bakes, verifies, inspects and compares golden images:
// vzdump archives of LXC guests that a Proxmox VE node restores. It needs no
// node to do so. This package owns the command line and the wiring; what the
// commands do lives in the packages below golden/internal and never sees the
// CLI library.
package main

import (
	"context"
	"io"
	"math"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/golden/internal/sshd"
)

// program is the name errors and help are printed under.
const program = "felhom-golden"

// version is set by the build with -ldflags "-X main.version=...".
var version = "devel"

func main() {
	os.Exit(mainCode())
}

// mainCode is main without the exit, so that deferred calls run.
func mainCode() int {
	if code, isChild := enter.MaybeChild(); isChild {
		return code
	}
	if code, isDaemon := sshd.MaybeDaemon(os.Stderr); isDaemon {
		return code
	}
	// What a caller such as Packer has left open is not for our programs: with
	// ten descriptors or more, mmdebstrap's "cat >&11" is an error in dash. A
	// kernel before 5.11 cannot, and then all is as the caller has left it.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	// Modes in an image must not depend on who builds it; what is private says so.
	syscall.Umask(0o022)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
}

// run is the program as a function: args[0] is its name, the result is the
// exit code of docs/exit-codes.md.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return int(newApp(stdio{in: stdin, out: stdout, err: stderr}).Run(ctx, args))
}
