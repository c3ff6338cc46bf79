// Package pcttest is a stand-in for the programs of a Proxmox VE node: pct,
// pvesh, pvesm and dpkg-query. Their messages, exit statuses and misleading results
// are those that PVE's own code was seen to have; they support only what the driver
// uses, and refuse the rest. The node's state is a directory, so that it outlives the
// processes. Only tests import it; they run as [Tests].
package pcttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// NodeName is the name of every node.
const NodeName = "pve"

// programs are the names of the stand-in, which is each of them.
var programs = map[string]func(*process) int{"pct": runPct, "pvesh": runPvesh, "pvesm": runPvesm, "dpkg-query": runDpkgQuery}

// Run runs the program that this process was started as and returns its exit
// status.
func Run() int { return programs[filepath.Base(os.Args[0])](newProcess()) }

// standin is the built stand-in. It is a program of its own, without the race
// detector: tests start it thousands of times, and the test binary takes four
// times as long to start, or ten times with that detector.
var standin struct {
	once sync.Once
	dir  string
	err  error
}

// buildStandin builds the stand-in once and returns its path.
func buildStandin() (string, error) {
	s := &standin
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "pcttest-"); s.err != nil {
			return
		}
		source := reflect.TypeFor[Node]().PkgPath() + "/standin"
		_, s.err = run.Run(context.Background(), run.Cmd{Path: "go", Args: []string{"build", "-ldflags=-s -w", "-o", s.dir, source}})
	})
	return filepath.Join(s.dir, "standin"), s.err
}

// Tests is M for leaktest.Run in a package whose tests make a [Node].
type Tests struct{ M *testing.M }

// Run runs the tests and removes the stand-in that they built.
func (t Tests) Run() int {
	code := t.M.Run()
	if standin.dir != "" {
		if err := os.RemoveAll(standin.dir); err != nil {
			panic(err)
		}
	}
	return code
}

// Storage is a storage of the node.
type Storage struct {
	Type     string // "dir", "lvm", "lvmthin", "zfspool", "rbd", "btrfs"
	Content  string // "rootdir,images"
	Path     string // of a dir storage
	Disabled bool
	Inactive bool
	Avail    int64
	Volumes  []string // of guests, such as "vm-8200-disk-0"; of a dir storage "8200/vm-8200-disk-0.raw"
}

// Faults are faults of the real programs that a test sets.
type Faults struct {
	NoQuorum     bool
	DiskGone     bool   // volume '…' does not exist at start
	StartFails   bool   // startup for container 'N' failed
	StartDies    bool   // start exits 0 and the guest is not running
	Stubborn     bool   // a shutdown needs force
	HA           []int  // guests that HA manages: start and stop return at once
	HAPolls      int    // rounds of its manager until HA has done it
	Replicated   []int  // guests with a replication job
	PauseRestore bool   // the restore waits for SIGTERM in the middle
	KeepPartial  bool   // and an interrupted worker leaves what it made
	MountBusy    bool   // what a killed restore has mounted is in use
	RestoreAdds  string // lines that the restored guest's configuration has, too
	LoseRestore  bool   // restore exits 0 and there is no guest
	DiskFull     bool   // tar finds no space
	RaceStart    int    // this guest starts between two calls: it runs once a set comes
	SetForgets   bool   // set exits 0 and changes nothing
	Touch        string // file that a restore or a clone makes when it pauses

	PauseClone   string // the clone waits for SIGTERM: "config" is before it has its disk, "disk" is after
	TemplateEnds string // the conversion is killed: "disk" is before, "config" is after it wrote the disk's new name
	CloneForgets bool   // clone exits 0 and makes no guest
	SetBusy      bool   // another command holds the guest's lock at the next set
}

// Task is an active task of the node.
type Task struct {
	PID    int
	Type   string
	ID     string
	Status string // RUNNING, or how it ended a moment ago
}

// state is state.json.
type state struct {
	Storages map[string]*Storage
	Packages map[string]string
	Faults   Faults
	Tasks    []Task
	MACs     int
	Calls    []string
	Mounted  []int // VMIDs whose root file system a killed restore has mounted
	Replaced map[string]*string

	Elsewhere struct {
		VMID       int
		Node, Type string
	}
}

// Node is the node of a test.
type Node struct {
	t   testing.TB
	dir string
	ha  bool // its manager is at work
}

// New makes a node with the bridge vmbr0, the storages local (backups) and
// local-lvm (guests), and the packages of a current PVE 9.
func New(t testing.TB) *Node {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	program, err := buildStandin()
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{t: t, dir: dir}
	for _, sub := range []string{"bin", "run", "etc/pve/local", "etc/pve/lxc", "etc/pve/firewall", "net/vmbr0/bridge", "net/eno1", "local/dump", "proc/net", "proc/self", "var/log/pve/tasks", "var/lib/lxc"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name := range programs {
		if err := os.Symlink(program, n.Bin(name)); err != nil {
			t.Fatal(err)
		}
	}
	n.change(func(s *state) {
		s.Storages = map[string]*Storage{
			"local":     {Type: "dir", Content: "backup,iso,vztmpl", Path: filepath.Join(dir, "local"), Avail: 1 << 40},
			"local-lvm": {Type: "lvmthin", Content: "rootdir,images", Avail: 1 << 40},
		}
		s.Packages = map[string]string{"pve-container": "6.1.10", "lxc-pve": "6.0.5-3"}
	})
	return n
}

// Bin is the path of a program.
func (n *Node) Bin(name string) string { return filepath.Join(n.dir, "bin", name) }

// Dir is a file or directory of the node: "net" stands for /sys/class/net, "etc/pve" and
// "local/dump" for what their names say.
func (n *Node) Dir(name string) string { return filepath.Join(n.dir, name) }

// SetFaults replaces the node's traps.
func (n *Node) SetFaults(f Faults) {
	n.t.Helper()
	n.change(func(s *state) { s.Faults = f })
	if len(f.HA) == 0 || n.ha {
		return
	}
	n.ha = true
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				n.manageHA()
			}
		}
	}()
	n.t.Cleanup(func() { close(done); <-ended })
}

// SetStorage makes or replaces a storage.
func (n *Node) SetStorage(name string, st Storage) {
	if st.Type == "dir" && st.Path == "" {
		st.Path = filepath.Join(n.dir, "storages", name)
		if err := os.MkdirAll(filepath.Join(st.Path, "images"), 0o755); err != nil {
			n.t.Fatal(err)
		}
	}
	if st.Type == "" {
		st.Type = "lvmthin"
	}
	n.change(func(s *state) { s.Storages[name] = &st })
}

// Volumes lists the guests' volumes on a storage.
func (n *Node) Volumes(storage string) (volumes []string) {
	n.change(func(s *state) { volumes = s.Storages[storage].Volumes })
	return volumes
}

// SetElsewhere adds one guest to the cluster's list that pct does not know
// here: a VM ("qemu"), or another node's.
func (n *Node) SetElsewhere(vmid int, node, kind string) {
	n.change(func(s *state) { s.Elsewhere.VMID, s.Elsewhere.Node, s.Elsewhere.Type = vmid, node, kind })
}

// SetPackage sets a version; "" removes the package.
func (n *Node) SetPackage(name, version string) {
	n.change(func(s *state) {
		s.Packages[name] = version
		if version == "" {
			delete(s.Packages, name)
		}
	})
}

// SetTasks replaces the active tasks.
func (n *Node) SetTasks(tasks ...Task) { n.change(func(s *state) { s.Tasks = tasks }) }

// Calls returns the command lines of pct so far, without those of the programs
// that read; see [Node.Started].
func (n *Node) Calls() []string { return n.Started("pct") }

// SetConfig writes guest vmid's configuration as it is.
func (n *Node) SetConfig(vmid int, text string) {
	n.t.Helper()
	if err := errors.Join(os.WriteFile(confPath(n.dir, vmid), []byte(text), 0o640), refresh(n.dir)); err != nil {
		n.t.Fatal(err)
	}
}

// Config reads guest vmid's configuration.
func (n *Node) Config(vmid int) string {
	n.t.Helper()
	data, err := os.ReadFile(confPath(n.dir, vmid))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(data)
}

// MakePartial leaves what a restore leaves that was killed hard with its worker:
// a configuration of one line, and a mounted volume that it does not name.
func (n *Node) MakePartial(vmid int) {
	n.t.Helper()
	if err := os.MkdirAll(rootfsDir(n.dir, vmid), 0o755); err != nil {
		n.t.Fatal(err)
	}
	n.change(func(s *state) {
		st := s.Storages["local-lvm"]
		st.Volumes = append(st.Volumes, fmt.Sprintf("vm-%d-disk-0", vmid))
		s.Mounted = append(s.Mounted, vmid)
	})
	n.SetConfig(vmid, "lock: create\n")
}

// Sees reports whether the running guest has a file at path, through a mount.
func (n *Node) Sees(vmid int, path string) bool {
	n.t.Helper()
	r := readRun(n.dir, vmid)
	for target, source := range r.Mounts {
		if rel, err := filepath.Rel(target, path); err == nil && filepath.IsLocal(rel) {
			_, err := os.Stat(filepath.Join(source, rel))
			return err == nil
		}
	}
	return false
}

func (n *Node) change(f func(*state)) {
	n.t.Helper()
	if err := withState(n.dir, f); err != nil {
		n.t.Fatal(err)
	}
}

// withState reads the node's state, lets f change it and writes it back,
// alone among all processes. A process may be killed here at any time.
func withState(dir string, f func(*state)) (err error) {
	unlock, err := filelock.Wait(context.Background(), filepath.Join(dir, "state.lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	path := filepath.Join(dir, "state.json")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var s state
	if old != nil {
		if err := json.Unmarshal(old, &s); err != nil {
			return err
		}
	}
	f(&s)
	if err := render(dir, &s); err != nil {
		return err
	}
	data, err := json.Marshal(s)
	if err != nil || bytes.Equal(data, old) {
		return err
	}
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func confPath(dir string, vmid int) string {
	return filepath.Join(dir, "etc/pve/lxc", strconv.Itoa(vmid)+".conf")
}

// running is what the kernel has of a guest: run/N.json.
type running struct {
	Running bool
	Mounts  map[string]string // target to source, as they were mounted
	HA      string            // what HA was asked for: start or stop
	Polls   int               // rounds of its manager until HA has done it
}

func readRun(dir string, vmid int) (r running) {
	data, err := os.ReadFile(filepath.Join(dir, "run", strconv.Itoa(vmid)+".json"))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return running{}
	}
	return r
}

func writeRun(dir string, vmid int, r running) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "run", strconv.Itoa(vmid)+".json")
	tmp := path + "." + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp, path), refresh(dir))
}

// readConf returns a guest's configuration and whether there is one.
func readConf(dir string, vmid int) (config *pctconf.Config, raw []byte, ok bool) {
	raw, err := os.ReadFile(confPath(dir, vmid))
	if err != nil {
		return nil, nil, false
	}
	config, _ = pctconf.Parse(raw)
	return config, raw, true
}

// writeConf replaces it at once, so that no reader sees a part of it.
func writeConf(dir string, vmid int, config *pctconf.Config) error {
	tmp := confPath(dir, vmid) + ".tmp." + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(tmp, config.Format(), 0o640); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp, confPath(dir, vmid)), refresh(dir))
}
