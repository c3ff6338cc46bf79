package dockertest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// How long the fake takes for what a real engine takes longer for.
const (
	healthAfter  = 20 * time.Millisecond
	restartAfter = 20 * time.Millisecond
)

type createRequest struct {
	Image      string
	Labels     map[string]string
	HostConfig struct {
		PortBindings map[string][]struct{ HostIP, HostPort string }
	}
}

// Add makes a running container of another program.
func (e *Engine) Add(name, image string) (id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.newContainer(name, image)
	c.Status = "running"
	return c.ID
}

// Container returns name, image and status of a container, all "" without one.
func (e *Engine) Container(name string) (id, image, status string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.find(name); c != nil {
		return c.ID, c.Image, c.Status
	}
	return "", "", ""
}

// Config returns the body that the container was created from.
func (e *Engine) Config(name string) json.RawMessage {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.find(name); c != nil {
		return c.Config
	}
	return nil
}

func (e *Engine) newContainer(name, image string) *fakeContainer {
	e.serial++
	c := &fakeContainer{
		ID: fmt.Sprintf("%064x", 0xabc000000+e.serial), Name: name, Image: image, Status: "created", Created: time.Now(), stop: make(chan struct{}),
	}
	e.containers[c.ID] = c
	return c
}

func (c *fakeContainer) end() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
}

func (e *Engine) find(name string) *fakeContainer {
	if c := e.containers[name]; c != nil {
		return c
	}
	for _, c := range e.containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (e *Engine) create(w http.ResponseWriter, r *http.Request) {
	var raw json.RawMessage
	var req createRequest
	if err := json.NewDecoder(r.Body).Decode(&raw); err != nil || json.Unmarshal(raw, &req) != nil {
		problem(w, 400, "invalid JSON")
		return
	}
	name := r.URL.Query().Get("name")
	e.mu.Lock()
	defer e.mu.Unlock()
	if other := e.find(name); other != nil {
		problem(w, 409, fmt.Sprintf("Conflict. The container name \"/%s\" is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", name, other.ID))
		return
	}
	img := e.findImage(req.Image)
	if img == nil {
		problem(w, 404, "No such image: "+req.Image)
		return
	}
	c := e.newContainer(name, req.Image)
	c.ImageID, c.Labels, c.Config = img.id, req.Labels, raw
	for port, bindings := range req.HostConfig.PortBindings {
		for _, b := range bindings {
			c.Ports = append(c.Ports, b.HostIP+":"+b.HostPort+"/"+port)
		}
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"Id": c.ID, "Warnings": []string{}})
}

func (e *Engine) remove(w http.ResponseWriter, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.find(name)
	if c == nil {
		problem(w, 404, "No such container: "+name)
		return
	}
	c.end()
	delete(e.containers, c.ID)
	e.emit(c, "destroy")
	w.WriteHeader(http.StatusNoContent)
}

func (e *Engine) container(w http.ResponseWriter, r *http.Request, name, action string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.find(name)
	if c == nil {
		problem(w, 404, "No such container: "+name)
		return
	}
	switch action {
	case "json":
		e.inspect(w, c)
	case "start":
		e.start(w, c)
	case "stop":
		e.halt(c)
		w.WriteHeader(http.StatusNoContent)
	case "restart":
		e.halt(c)
		e.start(w, c)
	case "rename":
		to := r.URL.Query().Get("name")
		if e.find(to) != nil {
			problem(w, 409, "Conflict. The container name \"/"+to+"\" is already in use by container \"X\".")
			return
		}
		c.Name = to
		w.WriteHeader(http.StatusNoContent)
	case "logs":
		line := "controller " + behaviour(c.Image) + " starts\n"
		head := make([]byte, 8) // stdcopy: stream 2, big-endian length
		head[0] = 2
		binary.BigEndian.PutUint32(head[4:], uint32(len(line)))
		_, _ = w.Write(append(head, line...))
	default:
		problem(w, 404, "page not found")
	}
}

func (e *Engine) inspect(w http.ResponseWriter, c *fakeContainer) {
	started := "0001-01-01T00:00:00Z"
	if !c.StartedAt.IsZero() {
		started = c.StartedAt.UTC().Format(time.RFC3339Nano)
	}
	state := map[string]any{"Status": c.Status, "Running": c.Status == "running", "ExitCode": c.ExitCode, "StartedAt": started}
	if c.Health != "" {
		state["Health"] = map[string]any{"Status": c.Health}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"Id": c.ID, "Name": "/" + c.Name, "Image": c.ImageID, "Created": c.Created.UTC().Format(time.RFC3339Nano), "RestartCount": c.Restarts,
		"State": state, "Config": map[string]any{"Image": c.Image, "Labels": c.Labels},
	})
}

func behaviour(ref string) string { return ref[strings.LastIndex(ref, ":")+1:] }

func (e *Engine) start(w http.ResponseWriter, c *fakeContainer) {
	if c.Status == "running" {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	for _, other := range e.containers {
		for _, p := range other.Ports {
			for _, mine := range c.Ports {
				if other != c && other.Status == "running" && p == mine {
					problem(w, 500, "driver failed programming external connectivity on endpoint X (ID): Bind for "+p+" failed: port is already allocated")
					return
				}
			}
		}
	}
	c.stop = make(chan struct{})
	e.up(c)
	w.WriteHeader(http.StatusNoContent)
}

// up runs the container as its image's tag says; the lock is held.
func (e *Engine) up(c *fakeContainer) {
	c.Status, c.StartedAt = "running", time.Now()
	e.emit(c, "start")
	how, stop := behaviour(c.Image), c.stop
	if how == "judged" {
		how = e.Judge(c.Config)
	}
	if how == "nohealth" {
		return
	}
	if how == "exits" {
		c.Status, c.ExitCode, c.Health = "restarting", 3, "unhealthy"
		e.emit(c, "die")
		e.later(stop, restartAfter, func() { c.Restarts++; e.up(c) })
		return
	}
	c.Health = "starting"
	if how == "starting" {
		return
	}
	e.later(stop, healthAfter, func() {
		c.Health = "healthy"
		if how == "unhealthy" || how == "late" {
			c.Health = "unhealthy"
		}
		e.emit(c, "health_status: "+c.Health)
		if how == "late" {
			e.later(stop, e.late, func() {
				c.Health = "healthy"
				e.emit(c, "health_status: healthy")
			})
		}
	})
}

func (e *Engine) later(stop chan struct{}, wait time.Duration, do func()) {
	go func() {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-stop:
		case <-timer.C:
			e.mu.Lock()
			defer e.mu.Unlock()
			select {
			case <-stop: // ended while we waited for the lock
			default:
				do()
			}
		}
	}()
}

func (e *Engine) halt(c *fakeContainer) {
	c.end()
	if c.Status == "running" || c.Status == "restarting" {
		c.Status, c.ExitCode, c.Health = "exited", 0, ""
		e.emit(c, "die")
	}
}
