package pcttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The files of the node that are made of its state, below its directory.
const (
	VMList      = "etc/pve/.vmlist"
	StorageFile = "etc/pve/storage.cfg"
	TaskFile    = "var/log/pve/tasks/active"
	UnixSockets = "proc/net/unix"
	MountInfo   = "proc/self/mountinfo"
	Reports     = "etc/pve/.rrd"
)

// Files are those that a driver can do without, by asking PVE.
var Files = []string{VMList, StorageFile, TaskFile, UnixSockets}

// render writes the node's files as they are in this state. Those that a test
// replaced or took away stay as they are.
func render(dir string, s *state) error {
	list, err := vmlist(dir, s)
	if err != nil {
		return err
	}
	texts := map[string]string{
		VMList: list, StorageFile: storageConfig(s), TaskFile: taskList(s), UnixSockets: sockets(dir), MountInfo: mounts(dir, s), Reports: reports(s),
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if text, replaced := s.Replaced[name]; replaced {
			if text == nil {
				if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				continue
			}
			texts[name] = *text
		}
		if err := replace(filepath.Join(dir, name), texts[name]); err != nil {
			return err
		}
	}
	return images(s)
}

// replace writes a file at once, where it differs.
func replace(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, []byte(text)) {
		return nil
	}
	if err := os.WriteFile(path+".tmp", []byte(text), 0o640); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func vmlist(dir string, s *state) (string, error) {
	ids := map[string]any{}
	entries, err := os.ReadDir(filepath.Join(dir, "etc/pve/lxc"))
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".conf"); ok {
			ids[id] = map[string]any{"node": NodeName, "type": "lxc", "version": 2}
		}
	}
	if e := s.Elsewhere; e.VMID != 0 {
		ids[strconv.Itoa(e.VMID)] = map[string]any{"node": e.Node, "type": e.Type, "version": 3}
	}
	data, err := json.Marshal(map[string]any{"version": 7, "ids": ids})
	return string(data), err
}

func storageConfig(s *state) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.Storages)) {
		st := s.Storages[name]
		fmt.Fprintf(&b, "%s: %s\n", st.Type, name)
		if st.Type == "dir" {
			fmt.Fprintf(&b, "\tpath %s\n", st.Path)
		} else {
			fmt.Fprint(&b, "\tvgname pve\n")
		}
		if st.Disabled {
			b.WriteString("\tdisable\n")
		}
		fmt.Fprintf(&b, "\tcontent %s\n\n", st.Content)
	}
	return b.String()
}

// reports are what pvestatd told of active storages a moment ago, among others.
func reports(s *state) string {
	var b strings.Builder
	now := time.Now().Unix()
	fmt.Fprintf(&b, "pve-node-9.0/%s:%d:0.05:8:0.01:0.001:16731869184:2043850752\n", NodeName, now)
	for _, name := range slices.Sorted(maps.Keys(s.Storages)) {
		if st := s.Storages[name]; !st.Disabled && !st.Inactive {
			fmt.Fprintf(&b, "pve-storage-9.0/%s/%s:%d:%d:%d\n", NodeName, name, now, storageSize, storageSize-st.Avail)
		}
	}
	return b.String()
}

// storageSize is the size of every storage.
const storageSize = 1 << 41

// UPID is the name that PVE gives to a task.
func (t Task) UPID() string {
	return fmt.Sprintf("UPID:%s:%08X:00ABCDEF:6650A0B1:%s:%s:root@pam:", NodeName, t.PID, t.Type, t.ID)
}

func taskList(s *state) string {
	var b strings.Builder
	for _, t := range s.Tasks {
		end := "0"
		if t.Status != "" && t.Status != "RUNNING" {
			end = "1 6650A0C0 " + t.Status
		}
		fmt.Fprintf(&b, "%s %s\n", t.UPID(), end)
	}
	return b.String()
}

func sockets(dir string) string {
	var b strings.Builder
	b.WriteString("Num       RefCount Protocol Flags    Type St Inode Path\n")
	line := func(path string) {
		fmt.Fprintf(&b, "0000000000000000: 00000002 00000000 00010000 0001 01 %5d %s\n", 30000+b.Len(), path)
	}
	line("/run/systemd/notify")
	line("")
	entries, err := os.ReadDir(filepath.Join(dir, "run"))
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		vmid, err := strconv.Atoi(id)
		if ok && err == nil && readRun(dir, vmid).Running {
			line("@" + filepath.Join(dir, "var/lib/lxc", id, "command"))
		}
	}
	return b.String()
}

func mounts(dir string, s *state) string {
	var b strings.Builder
	b.WriteString("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n")
	for i, vmid := range s.Mounted {
		fmt.Fprintf(&b, "%d 22 7:%d / %s rw,relatime shared:9 - ext4 /dev/loop%d rw\n", 100+i, i, rootfsDir(dir, vmid), i)
	}
	return b.String()
}

func rootfsDir(dir string, vmid int) string {
	return filepath.Join(dir, "var/lib/lxc", strconv.Itoa(vmid), "rootfs")
}

// images makes the files of volumes on storages that have files.
func images(s *state) error {
	for _, st := range s.Storages {
		if st.Type != "dir" {
			continue
		}
		old, err := filepath.Glob(filepath.Join(st.Path, "images/*/*"))
		if err != nil {
			return err
		}
		for _, path := range old {
			if rel, err := filepath.Rel(filepath.Join(st.Path, "images"), path); err != nil || !slices.Contains(st.Volumes, rel) {
				if err := errors.Join(err, os.Remove(path)); err != nil {
					return err
				}
			}
		}
		for _, v := range st.Volumes {
			path := filepath.Join(st.Path, "images", v)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, nil, 0o640); err != nil {
				return err
			}
		}
	}
	return nil
}

// refresh renders the files after a configuration or a running guest changed.
func refresh(dir string) error { return withState(dir, func(*state) {}) }

// Remove takes one of [Files] away, as on a node that has none.
func (n *Node) Remove(name string) { n.replaceFile(name, nil) }

// Replace makes one of [Files] another one.
func (n *Node) Replace(name, text string) { n.replaceFile(name, &text) }

func (n *Node) replaceFile(name string, text *string) {
	n.change(func(s *state) {
		if s.Replaced == nil {
			s.Replaced = map[string]*string{}
		}
		s.Replaced[name] = text
	})
}

// Unmount takes the mount of a killed restore's root file system away, as the
// system call would.
func (n *Node) Unmount(path string) (err error) {
	n.change(func(s *state) {
		i := slices.IndexFunc(s.Mounted, func(vmid int) bool { return rootfsDir(n.dir, vmid) == path })
		switch {
		case i < 0:
			err = syscall.EINVAL
		case s.Faults.MountBusy:
			err = syscall.EBUSY
		default:
			s.Mounted = slices.Delete(s.Mounted, i, i+1)
		}
	})
	return err
}

// Mounted lists the guests whose root file system a killed restore has mounted.
func (n *Node) Mounted() (vmids []int) {
	n.change(func(s *state) { vmids = s.Mounted })
	return vmids
}

// Started returns the command lines of one of the node's programs so far.
func (n *Node) Started(program string) (lines []string) {
	n.change(func(s *state) {
		for _, line := range s.Calls {
			if name, _, _ := strings.Cut(line, " "); name == program {
				lines = append(lines, line)
			}
		}
	})
	return lines
}

// manageHA does what the HA manager was asked for, some rounds later.
func (n *Node) manageHA() {
	p := &process{dir: n.dir, stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, options: map[string]string{}}
	n.change(func(s *state) { p.state = *s })
	for _, vmid := range p.state.Faults.HA {
		if config, _, ok := readConf(n.dir, vmid); ok {
			p.look(vmid, config)
		}
	}
}
