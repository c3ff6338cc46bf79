package pcttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Config is what the pct.conf of a golden image has; ARCH stands for this node's.
const Config = `#Golden image%3A 100%25
arch: ARCH
features: keyctl=1,nesting=1
hostname: golden
memory: 1024
net0: name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:AA:AA:AA,ip=dhcp,type=veth
ostype: debian
rootfs: other:vm-9100-disk-0,size=4G
swap: 0
tags: Golden;felhom
unprivileged: 1
`

// AddArchive writes an archive with this pct.conf into the storage local and
// returns its path. cut drops the end of it.
func (n *Node) AddArchive(name, config string, cut int) string {
	n.t.Helper()
	var out bytes.Buffer
	day := time.Unix(1750000000, 0)
	members := vzdump.NewMembers()
	head, err := vzdump.NewFrame(&out, vzdump.Fast, day, members)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := errors.Join(head.AddConfig([]byte(strings.ReplaceAll(config, "ARCH", runtime.GOARCH))), head.Close()); err != nil {
		n.t.Fatal(err)
	}
	tree, err := vzdump.NewFrame(&out, vzdump.Fast, day, members)
	if err != nil {
		n.t.Fatal(err)
	}
	content := strings.Repeat("golden\n", 2000)
	err = errors.Join(
		tree.Add(&vzdump.Entry{Path: ".", Type: vzdump.Dir, Mode: 0o755}, nil),
		tree.Add(&vzdump.Entry{Path: "etc", Type: vzdump.Dir, Mode: 0o755}, nil),
		tree.Add(&vzdump.Entry{Path: "etc/motd", Type: vzdump.File, Mode: 0o644, Size: int64(len(content))}, strings.NewReader(content)),
		tree.Finish(),
	)
	path := filepath.Join(n.dir, "local/dump", name)
	if err := errors.Join(err, os.WriteFile(path, out.Bytes()[:out.Len()-cut], 0o600)); err != nil {
		n.t.Fatal(err)
	}
	return path
}

// KillRestore leaves a restore of guest vmid in the middle, as SIGKILL of all of its
// processes does. The traps that were set are gone.
func (n *Node) KillRestore(vmid int, archive, storage string) {
	n.t.Helper()
	n.kill(Faults{PauseRestore: true}, "restore", strconv.Itoa(vmid), archive, "--rootfs", storage+":4")
}

// KillClone leaves a clone in the middle, as SIGKILL of all of its processes does: at
// "config" before it has its disk, at "disk" after.
func (n *Node) KillClone(template, vmid int, description, at string) {
	n.t.Helper()
	n.kill(Faults{PauseClone: at}, "clone", strconv.Itoa(template), strconv.Itoa(vmid), "--full=0", "--description="+description)
}

// kill ends pct by SIGKILL where it pauses.
func (n *Node) kill(f Faults, args ...string) {
	n.t.Helper()
	touch := filepath.Join(n.dir, "paused")
	if err := os.RemoveAll(touch); err != nil {
		n.t.Fatal(err)
	}
	f.Touch = touch
	n.SetFaults(f)
	ended := make(chan string, 1)
	go func() {
		res, err := run.Run(n.t.Context(), run.Cmd{Path: n.Bin("pct"), Args: args})
		ended <- fmt.Sprintf("exit status %d, %s, %v", res.ExitCode, res.Stderr, err)
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	pid := 0
	for pid == 0 {
		select {
		case how := <-ended:
			n.t.Fatalf("pct ended before it was killed: %s", how)
		case <-tick.C:
			if text, err := os.ReadFile(touch); err == nil && len(text) > 0 {
				if pid, err = strconv.Atoi(string(text)); err != nil {
					n.t.Fatal(err)
				}
			}
		}
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
	<-ended
	n.SetFaults(Faults{})
}
