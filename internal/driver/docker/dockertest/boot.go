package dockertest

import "maps"

// State is what an engine keeps on its disk.
type State struct {
	images     map[string]*fakeImage
	containers []fakeContainer
	serial     int
}

// State returns what e has on its disk now.
func (e *Engine) State() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := State{images: maps.Clone(e.images), serial: e.serial}
	for _, c := range e.containers {
		s.containers = append(s.containers, *c)
	}
	return s
}

// Boot has e start, in place of what it has, with what an engine had on its disk when the power failed: a
// container that ran is started again.
func (e *Engine) Boot(s State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		c.end()
	}
	clear(e.containers)
	e.images, e.serial = maps.Clone(s.images), s.serial
	for _, one := range s.containers {
		c, ran := one, one.Status == "running" || one.Status == "restarting"
		c.stop = make(chan struct{})
		e.containers[c.ID] = &c
		if ran {
			e.up(&c)
		}
	}
}
