package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Served is an answer that was given.
type Served struct {
	Route   string // method and path of the row of the route table; "" if no row was reached
	Status  int
	Refusal string // the word of the [Refusals]; "" for a success, and for an answer of the registry
	Took    time.Duration
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.served == nil {
		s.serve(w, r)
		return
	}
	o := &observed{ResponseWriter: w}
	began := time.Now()
	s.serve(o, r)
	o.served.Took = time.Since(began)
	s.served(o.served)
}

// observed notes what an answer is, for [Options.Served].
type observed struct {
	http.ResponseWriter
	served Served
}

// WriteHeader implements [http.ResponseWriter].
func (o *observed) WriteHeader(status int) {
	if o.served.Status == 0 {
		o.served.Status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// noteRoute notes the row that a request reached.
func noteRoute(w http.ResponseWriter, row Route) {
	if o, ok := w.(*observed); ok {
		o.served.Route = row.name()
	}
}

func noteRefusal(w http.ResponseWriter, name string) {
	if o, ok := w.(*observed); ok {
		o.served.Refusal = name
	}
}

func (r Route) name() string { return r.Method + " " + r.Path }

// RouteNames returns what [Served.Route] can be, with and without a registry.
func RouteNames() (names []string) {
	for _, row := range append((&Server{}).Routes(), registryRows(nil)...) {
		names = append(names, row.name())
	}
	return names
}

// RefusalNames returns what [Served.Refusal] can be.
func RefusalNames() (names []string) {
	for _, r := range refusals {
		names = append(names, r.Error)
	}
	return names
}

// unavailable is the answer that asks for a later try.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", retryAfter)
	refusedUnavailable.write(w)
}

func write(w http.ResponseWriter, status int, value any) {
	if value == nil {
		w.WriteHeader(status)
		return
	}
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal","message":"the answer could not be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the guest is gone
}
