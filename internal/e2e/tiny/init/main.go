// Command init is the whole of a guest that tests restore: an init that waits
// to be told to end, as systemd is told. It does nothing else.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

// halt is SIGRTMIN+3: what liblxc sends an init that blocks or catches it.
const halt = syscall.Signal(34 + 3)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, halt, syscall.SIGPWR, syscall.SIGTERM, syscall.SIGINT)
	<-end
}
