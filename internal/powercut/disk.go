package powercut

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Disk is what a file system has after some of its operations and a loss of
// power.
type Disk struct {
	files map[string]*content // by path
	dirs  map[string]bool
}

type content struct {
	data, synced []byte
	isSynced     bool
}

// Ends returns the ends of a loss of power that a file system may come to, for [After].
func Ends() []string { return []string{allKept, dataLost, changesLost} }

const (
	allKept     = "everything is kept"
	dataLost    = "data that was not synced is lost, names are kept"
	changesLost = "all that was not synced is lost"
)

// After replays operations and cuts the power.
func After(log []Operation, end string) Disk {
	now := Disk{map[string]*content{}, map[string]bool{}}
	durable := Disk{map[string]*content{}, map[string]bool{}}
	for _, o := range log {
		f := now.files[o.path]
		switch o.kind {
		case "create":
			now.files[o.path] = &content{}
		case "write":
			if missing := int(o.offset) + len(o.data) - len(f.data); missing > 0 {
				f.data = append(f.data, make([]byte, missing)...)
			}
			f.data = slices.Clone(f.data)
			copy(f.data[o.offset:], o.data)
		case "truncate":
			f.data = slices.Clone(f.data[:min(int(o.offset), len(f.data))])
		case "sync":
			if f != nil {
				f.synced, f.isSynced = slices.Clone(f.data), true
			}
		case "rename":
			now.files[o.to] = f
			delete(now.files, o.path)
		case "unlink":
			delete(now.files, o.path)
		case "mkdir":
			now.dirs[o.path] = true
		case "syncdir":
			// The names in that directory, and that alone.
			for path := range durable.files {
				if filepath.Dir(path) == o.path && now.files[path] == nil {
					delete(durable.files, path)
				}
			}
			for path, f := range now.files {
				if filepath.Dir(path) == o.path {
					durable.files[path] = f
				}
			}
		}
	}
	durable.dirs = now.dirs // made when the store is opened first
	switch end {
	case allKept:
		return now
	case dataLost:
		return Disk{lost(now.files), now.dirs}
	}
	return Disk{lost(durable.files), durable.dirs}
}

// lost returns the files with what of them was synced.
func lost(files map[string]*content) map[string]*content {
	out := map[string]*content{}
	for path, f := range files {
		out[path] = &content{data: f.synced}
	}
	return out
}

// Write makes the files and directories below at.
func (d Disk) Write(t testing.TB, at string) {
	t.Helper()
	for _, dir := range slices.Sorted(maps.Keys(d.dirs)) {
		if err := os.MkdirAll(filepath.Join(at, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for path, f := range d.files {
		if err := os.WriteFile(filepath.Join(at, path), f.data, 0o600); err != nil {
			t.Fatal(err)
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
