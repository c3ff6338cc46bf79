package powercut

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Operation is one change, for the simulation of a power cut.
type Operation struct {
	kind     string // create, write, truncate, sync, rename, link, unlink, mkdir, rmdir, syncdir
	path, to string
	offset   int64
	data     []byte
}

func (c *Cluster) note(o Operation) {
	c.mu.Lock()
	c.log = append(c.log, o)
	length := len(c.log)
	c.mu.Unlock()
	if c.Noted != nil {
		c.Noted(length)
	}
}

// Changes returns the changes so far.
func (c *Cluster) Changes() []Operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// Length returns the number of changes so far.
func (c *Cluster) Length() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.log)
}

// Disk is what a file system has after some of its operations and a loss of
// power.
type Disk struct {
	root *entry
	end  string
}

// entry is a file, or a directory if names is not nil. It keeps what it is when it
// gets another name.
type entry struct {
	names, durable map[string]*entry // now, and when the directory was last synced
	data, synced   []byte
}

func newDirectory() *entry {
	return &entry{names: map[string]*entry{}, durable: map[string]*entry{}}
}

// Ends returns the ends of a loss of power that a file system may come to, for [After].
func Ends() []string { return []string{allKept, dataLost, changesLost} }

const (
	allKept     = "everything is kept"
	dataLost    = "data that was not synced is lost, names are kept"
	changesLost = "all that was not synced is lost"
)

// After replays operations and cuts the power. A name is on disk when the directory
// that it is in was synced, also the name of a directory; what is in a directory
// whose name is lost is lost.
func After(log []Operation, end string) Disk {
	root := newDirectory()
	for _, o := range log {
		root.apply(o)
	}
	return Disk{root, end}
}

// find returns what has that path now, or nil.
func (e *entry) find(path string) *entry {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || e == nil {
			continue
		}
		e = e.names[name]
	}
	return e
}

// apply does one operation below the root. One on a file that has no name any more changes
// nothing that a loss of power leaves.
func (e *entry) apply(o Operation) {
	dir, name := e.find(filepath.Dir("/"+o.path)), filepath.Base(o.path)
	at := e.find(o.path)
	if dir == nil || at == nil && o.kind != "create" && o.kind != "mkdir" {
		return
	}
	switch o.kind {
	case "create":
		dir.names[name] = &entry{}
	case "mkdir":
		dir.names[name] = newDirectory()
	case "write":
		if missing := int(o.offset) + len(o.data) - len(at.data); missing > 0 {
			at.data = append(at.data, make([]byte, missing)...)
		}
		at.data = slices.Clone(at.data)
		copy(at.data[o.offset:], o.data)
	case "truncate":
		at.data = append(slices.Clone(at.data), make([]byte, max(0, int(o.offset)-len(at.data)))...)[:o.offset]
	case "sync":
		at.synced = slices.Clone(at.data)
	case "link", "rename":
		if o.kind == "rename" {
			delete(dir.names, name)
		}
		e.find(filepath.Dir("/" + o.to)).names[filepath.Base(o.to)] = at
	case "unlink", "rmdir":
		delete(dir.names, name)
	case "syncdir":
		// The names in that directory, and that alone.
		at.durable = maps.Clone(at.names)
	}
}

// Write makes the files and directories below at.
func (d Disk) Write(t testing.TB, at string) {
	t.Helper()
	if err := d.write(d.root, at); err != nil {
		t.Fatal(err)
	}
}

func (d Disk) write(e *entry, at string) error {
	names := e.names
	if d.end == changesLost {
		names = e.durable
	}
	for name, one := range names {
		path := filepath.Join(at, name)
		if one.names == nil {
			data := one.data
			if d.end != allKept {
				data = one.synced
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				return err
			}
			continue
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := d.write(one, path); err != nil {
			return err
		}
	}
	return nil
}

// Cut is a loss of power after some changes.
type Cut struct {
	After int    // changes
	Name  string // for messages
	Disk
}

// Cuts calls check with each loss of power after from or more of the changes, in each way in which a file
// system may end. It stops when the test has failed.
func (c *Cluster) Cuts(t testing.TB, from int, check func(Cut)) {
	t.Helper()
	log := c.Changes()
	for n := from; n <= len(log) && !t.Failed(); n++ {
		for _, end := range Ends() {
			check(Cut{n, fmt.Sprintf("cut after %d of %d operations (%s), %s", n, len(log), LastOf(log[:n]), end), After(log[:n], end)})
		}
	}
}

// LastOf returns the last change, for messages.
func LastOf(log []Operation) string {
	if len(log) == 0 {
		return ""
	}
	o := log[len(log)-1]
	return strings.TrimSpace(o.kind + " " + o.path + " " + o.to)
}
