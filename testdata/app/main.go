// Command app is a workload that knows nothing of the product, as a user's own
// image does: it shows one variable of its environment on port 9001, and counts
// its starts in a file of the volume at /data.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	address    = ":9001"
	startsFile = "/data/starts"
)

func main() {
	health := flag.Bool("health", false, "ask the running app whether it answers; 0 or 1")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	var err error
	if *health {
		err = ask(ctx)
	} else {
		err = serve(ctx)
	}
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1"+address+"/", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func serve(ctx context.Context) error {
	starts, err := countStart()
	if err != nil {
		return err
	}
	server := &http.Server{Addr: address, ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "mode: %s\nstarts: %d\n", os.Getenv("MODE"), starts)
	})}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// countStart adds one byte to the file and returns its new size.
func countStart() (int64, error) {
	f, err := os.OpenFile(startsFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = f.WriteString(".")
	info, statErr := f.Stat()
	if err := errors.Join(err, statErr, f.Close()); err != nil {
		return 0, err
	}
	return info.Size(), nil
}
