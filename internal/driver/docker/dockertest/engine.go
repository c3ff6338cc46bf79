// Package dockertest is a fake Docker Engine on a unix socket, for faults that
// a real one cannot be made to have, and the conformance suite that fake and
// real engine both pass. Only tests import it. It runs nothing: an image's tag
// says how its containers behave.
package dockertest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Engine is the fake. Its behaviour is set by fields before the first request,
// and by Fail at any time.
type Engine struct {
	Host               string // unix://PATH
	API                string // "1.41"
	Username, Password string // of every registry; both empty: none is asked for
	Version            string // "26.1.5"; "": it does not say
	Containerd         bool   // image store of containerd: IDs are manifest digests
	DataRoot           string // its directory; "": it does not say
	// Judge returns how a container of a tag "judged" behaves, as a tag does, when it
	// starts with that configuration.
	Judge func(config []byte) string
	late  time.Duration // after which a container of a tag "late" is healthy

	mu         sync.Mutex
	registry   map[string]bool // references that can be pulled
	images     map[string]*fakeImage
	containers map[string]*fakeContainer
	watchers   map[chan fakeEvent]string // to the label that is filtered by
	failures   map[string][]failure
	calls      []string
	serial     int
	done       chan struct{}
}

type failure struct {
	status int
	text   string
	stream bool
}

type fakeImage struct {
	id, ref, manifest string
	arch              string
}

type fakeContainer struct {
	ID, Name, Image, ImageID string
	Labels                   map[string]string
	Ports                    []string
	Status, Health           string
	Restarts, ExitCode       int
	Created, StartedAt       time.Time
	Config                   json.RawMessage
	stop                     chan struct{} // closed when it is to end
}

type fakeEvent struct {
	Type   string
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string
	}
	TimeNano int64 `json:"timeNano"`
}

// Start returns a fake that listens until the test ends. References can be pulled
// once they are given to Push.
func Start(t testing.TB) *Engine {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "e.sock")
	return StartAt(t, socket)
}

// StartAt is Start on the given socket.
func StartAt(t testing.TB, socket string) *Engine {
	t.Helper()
	e := &Engine{
		Host: "unix://" + socket, API: "1.41",
		registry: map[string]bool{}, images: map[string]*fakeImage{}, containers: map[string]*fakeContainer{},
		watchers: map[chan fakeEvent]string{}, failures: map[string][]failure{}, done: make(chan struct{}),
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(func() {
		close(e.done)
		e.mu.Lock()
		for _, c := range e.containers {
			c.end()
		}
		e.mu.Unlock()
		server.Close()
	})
	return e
}

// Push makes references pullable. Their tag says how a container of them
// behaves: "exits", "unhealthy", "starting" (for ever), "nohealth", "otherarch", "late"
// (unhealthy, and healthy after Late), "judged" (see Judge); any other is healthy.
func (e *Engine) Push(refs ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ref := range refs {
		e.registry[ref] = true
	}
}

// Fail makes the next request whose "METHOD /path" begins so answer with status
// and message; status 200 puts the message into the stream instead.
func (e *Engine) Fail(request string, status int, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures[request] = append(e.failures[request], failure{status, text, status == http.StatusOK})
}

// Calls returns the requests so far, "METHOD /path", and forgets them.
func (e *Engine) Calls() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := e.calls
	e.calls = nil
	return calls
}

// Digests returns the config digest (image ID) and the manifest digest of ref.
func Digests(ref string) (config, manifest string) {
	sum := func(text string) string {
		d := sha256.Sum256([]byte(text))
		return "sha256:" + hex.EncodeToString(d[:])
	}
	return sum("config " + ref), sum("manifest " + ref)
}

func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v1."); ok { // "/v1.41/containers/…"
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	request := r.Method + " " + path
	e.mu.Lock()
	e.calls = append(e.calls, request)
	w.Header().Set("Api-Version", e.API)
	w.Header().Set("Ostype", "linux")
	for prefix, list := range e.failures {
		if !strings.HasPrefix(request, prefix) || len(list) == 0 {
			continue
		}
		f := list[0]
		e.failures[prefix] = list[1:]
		e.mu.Unlock()
		if f.stream {
			_ = json.NewEncoder(w).Encode(map[string]any{"error": f.text, "errorDetail": map[string]string{"message": f.text}})
			return
		}
		problem(w, f.status, f.text)
		return
	}
	e.mu.Unlock()
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "/_ping":
		_, _ = io.WriteString(w, "OK")
	case path == "/info":
		status := [][2]string{{"Backing Filesystem", "extfs"}}
		if e.Containerd {
			status = [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"DriverStatus": status, "ServerVersion": e.Version, "DockerRootDir": e.DataRoot})
	case path == "/events":
		e.events(w, r)
	case path == "/images/create":
		e.pull(w, r)
	case path == "/images/load":
		e.load(w, r)
	case parts[0] == "images" && r.Method == http.MethodDelete:
		e.removeImage(w, strings.TrimPrefix(path, "/images/"))
	case parts[0] == "images":
		e.image(w, r, strings.TrimPrefix(path, "/images/"))
	case path == "/containers/create":
		e.create(w, r)
	case parts[0] == "containers" && len(parts) == 2 && r.Method == http.MethodDelete:
		e.remove(w, parts[1])
	case parts[0] == "containers" && len(parts) == 3:
		e.container(w, r, parts[1], parts[2])
	default:
		problem(w, http.StatusNotFound, "page not found")
	}
}

func problem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
}

func (e *Engine) pull(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	ref := q.Get("fromImage") + ":" + q.Get("tag")
	if strings.HasPrefix(q.Get("tag"), "sha256:") {
		ref = q.Get("fromImage") + "@" + q.Get("tag")
	}
	if e.Username != "" || e.Password != "" {
		var auth struct{ Username, Password string }
		data, _ := base64.URLEncoding.DecodeString(r.Header.Get("X-Registry-Auth"))
		_ = json.Unmarshal(data, &auth) // nothing sent is nothing
		if auth.Username == "" {
			problem(w, 500, `Head "https://registry.example/v2/a/manifests/1": no basic auth credentials`)
			return
		}
		if auth.Username != e.Username || auth.Password != e.Password {
			problem(w, 500, "unauthorized: authentication required")
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.registry[ref] {
		problem(w, 404, "manifest for "+ref+" not found: manifest unknown: manifest unknown")
		return
	}
	enc := json.NewEncoder(w)
	for _, m := range []string{
		`{"status":"Downloading","progressDetail":{"current":512,"total":1024},"id":"aa"}`,
		`{"status":"Download complete","progressDetail":{},"id":"aa"}`,
		`{"status":"Pull complete","progressDetail":{},"id":"aa"}`,
	} {
		_ = enc.Encode(json.RawMessage(m))
	}
	e.add(ref, true)
}

func (e *Engine) add(ref string, pulled bool) {
	config, manifest := Digests(ref)
	img := &fakeImage{id: config, ref: ref, arch: runtime.GOARCH}
	if pulled {
		img.manifest = manifest
	}
	if e.Containerd { // a load of an archive without its manifest makes a new one
		if !pulled {
			sum := sha256.Sum256([]byte("loaded " + ref))
			img.manifest = "sha256:" + hex.EncodeToString(sum[:])
		}
		img.id = img.manifest
	}
	if strings.HasSuffix(ref, ":otherarch") {
		img.arch = "other"
	}
	e.images[ref] = img
}

// load takes an "archive" that is the bare reference.
func (e *Engine) load(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	ref := strings.TrimSpace(string(data))
	if ref == "" || strings.ContainsAny(ref, " \x00") {
		_ = json.NewEncoder(w).Encode(map[string]any{"error": "invalid archive", "errorDetail": map[string]string{"message": "invalid archive"}})
		return
	}
	e.add(ref, false)
	_ = json.NewEncoder(w).Encode(map[string]string{"stream": "Loaded image: " + ref + "\n"})
}

func (e *Engine) image(w http.ResponseWriter, r *http.Request, rest string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if name, ok := strings.CutSuffix(rest, "/tag"); ok {
		img := e.findImage(name)
		if img == nil {
			problem(w, 404, "No such image: "+name)
			return
		}
		e.images[r.URL.Query().Get("repo")+":"+r.URL.Query().Get("tag")] = img
		w.WriteHeader(http.StatusCreated)
		return
	}
	name := strings.TrimSuffix(rest, "/json")
	img := e.findImage(name)
	if img == nil {
		problem(w, 404, "No such image: "+name)
		return
	}
	answer := map[string]any{"Id": img.id, "RepoTags": []string{img.ref}, "Architecture": img.arch, "Os": "linux", "Config": map[string]any{}}
	if img.manifest != "" {
		answer["RepoDigests"] = []string{img.ref[:strings.LastIndex(img.ref, ":")] + "@" + img.manifest}
	}
	if !strings.HasSuffix(img.ref, ":nohealth") {
		answer["Config"] = map[string]any{"Healthcheck": map[string]any{"Test": []string{"CMD", "/controller", "-health"}}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (e *Engine) findImage(name string) *fakeImage {
	if img := e.images[name]; img != nil {
		return img
	}
	for _, ref := range slices.Sorted(maps.Keys(e.images)) {
		img := e.images[ref]
		if img.id == name || img.manifest != "" && strings.HasSuffix(name, "@"+img.manifest) {
			return img
		}
	}
	return nil
}

func (e *Engine) events(w http.ResponseWriter, r *http.Request) {
	var filters map[string]map[string]bool
	_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters)
	label := ""
	for l := range filters["label"] {
		label = l
	}
	ch := make(chan fakeEvent, 64)
	e.mu.Lock()
	e.watchers[ch] = label
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.watchers, ch)
		e.mu.Unlock()
	}()
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for {
		select {
		case ev := <-ch:
			_ = json.NewEncoder(w).Encode(ev)
			_ = flush.Flush()
		case <-r.Context().Done():
			return
		case <-e.done:
			return
		}
	}
}

// SetLate sets after which time a container of a tag "late" becomes healthy.
func (e *Engine) SetLate(after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.late = after
}

// emit sends an event; the lock is held.
func (e *Engine) emit(c *fakeContainer, action string) {
	ev := fakeEvent{Type: "container", Action: action, TimeNano: time.Now().UnixNano()}
	ev.Actor.ID, ev.Actor.Attributes = c.ID, maps.Clone(c.Labels)
	if action == "die" {
		if ev.Actor.Attributes == nil {
			ev.Actor.Attributes = map[string]string{}
		}
		ev.Actor.Attributes["exitCode"] = fmt.Sprint(c.ExitCode)
	}
	for ch, label := range e.watchers {
		key, value, exact := strings.Cut(label, "=")
		if have, ok := c.Labels[key]; label != "" && (!ok || exact && have != value) {
			continue
		}
		select {
		case ch <- ev:
		default: // a reader that slow would lose a real engine's events too
		}
	}
}
