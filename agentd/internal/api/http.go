package api

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/internal/contract"
)

// Limits of one connection (docs/local-api.md). readHeaderTimeout bounds TLS
// handshake and header together.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 20 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 8<<10 - goHeaderSlop
	goHeaderSlop      = 4 << 10 // net/http allows this much more than it is told
)

// HTTP returns the server for handler, which speaks HTTP/1.1 only. Serve the
// local API from [TLS]. complaints gets the messages of net/http about
// connections.
func HTTP(handler http.Handler, complaints *log.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           handled(handler),
		Protocols:         &protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          complaints,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return withConn(listener.WithConn(ctx, c), c) },
		ConnState: func(c net.Conn, state http.ConnState) {
			listener.Of(c).SetIdle(state == http.StateIdle)
			noteState(c, state)
		},
		// "OPTIONS *" would else be answered by net/http, without a token.
		DisableGeneralOptionsHandler: true,
	}
}

// Health is the answer to GET /health on the Unix socket.
type Health struct {
	Ready   bool     `json:"ready"`
	Guests  int      `json:"guests"`
	Listen  []string `json:"listen"`
	Version string   `json:"version"`

	Origin *HealthOrigin `json:"origin,omitempty"` // nil: not looked at
}

// HealthOrigin is how many requests with a valid token did not come from their
// guest since the daemon started.
type HealthOrigin struct {
	Mode       string                   `json:"mode"`
	Checked    uint64                   `json:"checked"`
	Mismatches map[origin.Reason]uint64 `json:"mismatches"`
}

// PathMetrics is GET, on the agent's Unix socket only: what the daemon counts.
const PathMetrics = "/metrics"

// HealthHandler serves GET /health, and GET /metrics from metrics, which may be
// nil. It asks for no token: the socket's mode decides who may ask.
func HealthHandler(status func() Health, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	if metrics != nil {
		mux.Handle("GET "+PathMetrics, metrics)
	}
	mux.HandleFunc("GET "+contract.PathHealth, func(w http.ResponseWriter, _ *http.Request) {
		h := status()
		body, err := json.Marshal(h)
		if err != nil {
			http.Error(w, "encode health", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if !h.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(append(body, '\n')) // the client is gone
	})
	return mux
}
