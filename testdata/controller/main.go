// Command controller is the sample workload of tests and of the demo: it stands
// in for the real felhom controller, whose source is not at hand. It reads
// controller.yaml as docs/controller-yaml.md describes it, knows nothing of the
// product's packages (so that the format is read by a second hand), and shows
// on one page whether it is configured and what the host answers it.
//
// FELHOM_SAMPLE_BEHAVE makes variants: "exit" ends at once with status 3,
// "unhealthy" fails its health test, "slow" answers after 3 s.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	settingsFile = "/opt/docker/felhom-controller/controller.yaml"
	slowStart    = 3 * time.Second
)

func main() {
	health := flag.Bool("health", false, "ask the running controller whether it is healthy; 0 or 1")
	settings := flag.String("settings", settingsFile, "controller.yaml")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	var err error
	if *health {
		err = probe(ctx)
	} else {
		err = serve(ctx, *settings, os.Getenv("FELHOM_SAMPLE_BEHAVE"))
	}
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "controller:", err)
		if *health {
			os.Exit(1)
		}
		os.Exit(3)
	}
}

// probe is the image's health test. There is no curl in the image.
func probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8080/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz answers %d", resp.StatusCode)
	}
	return nil
}

func serve(ctx context.Context, settingsFile, behave string) error {
	_, _ = fmt.Fprintf(os.Stderr, "controller %s starts\n", os.Getenv("FELHOM_SAMPLE_VERSION"))
	if behave == "exit" {
		return errors.New("told to exit at once")
	}
	if behave == "slow" {
		select {
		case <-time.After(slowStart):
		case <-ctx.Done():
			return nil
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if behave == "unhealthy" {
			http.Error(w, "told to be unhealthy", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprint(w, page(r.Context(), settingsFile))
	})
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", server.Addr)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
