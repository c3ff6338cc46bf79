package pct

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Limits of the node's own files.
const (
	maxTaskFile    = 1 << 20
	maxSocketLine  = 64 << 10
	maxStorageFile = 1 << 20
)

// state reports whether guest vmid runs. Each of PVE's own programs needs a
// second of a processor for that, and looks in the same place.
func (d *Driver) state(ctx context.Context, vmid int) (driver.State, error) {
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	if state, ok := d.socket(vmid); ok {
		return state, nil
	}
	st, err := d.status(ctx, vmid)
	return st.State(), err
}

// socket looks for the abstract socket on which LXC's monitor of a running
// guest listens. It returns false if the list of sockets cannot be read.
func (d *Driver) socket(vmid int) (state driver.State, ok bool) {
	f, err := os.Open(d.o.UnixSockets)
	if err != nil {
		return "", false
	}
	defer func() { ok = errors.Join(f.Close()) == nil && ok }()
	return listens(f, "@"+filepath.Join(d.o.LXCDir, strconv.Itoa(vmid), "command"))
}

// listens reports whether a list of sockets, of the form of /proc/net/unix, has one of
// that name. It returns false if the list is not understood.
func listens(list io.Reader, name string) (state driver.State, ok bool) {
	lines := bufio.NewScanner(list)
	lines.Buffer(nil, maxSocketLine)
	const columns = 8
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "Num ") || !strings.HasSuffix(strings.TrimSpace(lines.Text()), "Path") {
		return "", false
	}
	state = driver.Stopped
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == columns && fields[columns-1] == name {
			state = driver.Running
		}
	}
	if lines.Err() != nil {
		return "", false
	}
	return state, true
}

// task is one of PVE's list of active tasks.
type task struct {
	UPID    string `json:"upid"`
	Type    string `json:"type"`
	ID      string `json:"id"`
	Status  string `json:"status"`
	EndTime number `json:"endtime"`
}

// work has PVE's active tasks of one guest: each is a UPID, or "".
type work struct {
	own   string // of a task that names the guest
	clone string // of any clone: its task names the source, and nothing its target
}

// tasks reads the active tasks. PVE's list also has those that ended a moment
// ago.
func (d *Driver) tasks(ctx context.Context, vmid int) (w work, err error) {
	if err := context.Cause(ctx); err != nil {
		return work{}, err
	}
	tasks, ok := d.taskFile()
	if !ok { // the API cuts its list at 50 by default
		if err := d.get(ctx, &tasks, "/tasks", "--source", "active", "--limit", "1000"); err != nil {
			return work{}, err
		}
	}
	for _, t := range tasks {
		switch {
		case t.EndTime != 0 || t.Status != "" && t.Status != "RUNNING":
		case t.ID == strconv.Itoa(vmid):
			w.own = t.UPID
		case t.Type == "vzclone" || t.Type == "qmclone":
			w.clone = t.UPID
		}
	}
	return w, nil
}

// taskLine is a UPID (node, process, its start, time, type, ID, user), whether
// the task was told to the cluster, and of an ended one when and how it ended.
var taskLine = regexp.MustCompile(`^(UPID:[^:\s]+:[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8}:([^:\s]+):([^:\s]*):[^:\s]+:) [01](?: ([0-9A-Fa-f]{8})(?: .*)?)?$`)

// taskFile reads the node's own list. It returns false if PVE must be asked: if
// a task were missed, its guest would not be protected.
func (d *Driver) taskFile() (tasks []task, ok bool) {
	data, err := regular.Read(d.o.TaskFile, maxTaskFile)
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(data)) {
		m := taskLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return nil, false
		}
		t := task{UPID: m[1], Type: m[2], ID: m[3]}
		if m[4] != "" {
			t.Status = "ended"
		}
		tasks = append(tasks, t)
	}
	return tasks, true
}
