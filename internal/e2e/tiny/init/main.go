// Command init is the whole of a guest that tests restore: an init that waits
// to be told to end, as systemd is told, or ends by itself after the time in /etc/end-after.
package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// halt is SIGRTMIN+3: what liblxc sends an init that blocks or catches it.
const halt = syscall.Signal(34 + 3)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, halt, syscall.SIGPWR, syscall.SIGTERM, syscall.SIGINT)
	after, _ := os.ReadFile("/etc/end-after") // most guests have none
	if d, err := time.ParseDuration(string(after)); err == nil {
		time.AfterFunc(d, func() {
			_, _ = os.Stdout.WriteString("small: ends by itself\n")
			os.Exit(1)
		})
	}
	<-end
}
