package pct

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// DefaultDir is where PVE mounts its cluster file system.
const DefaultDir = "/etc/pve"

// IsElsewhere reports whether the cluster file system at dir says that guest
// vmid is on another node. It starts no process. It is false for a guest that
// no node has.
func IsElsewhere(dir string, vmid int) bool { return NodeOf(dir, vmid) != "" }

// NodeOf returns the node that IsElsewhere means; "" if there is none.
func NodeOf(dir string, vmid int) string {
	for _, kind := range []string{"lxc", "qemu-server"} {
		_, err := os.Lstat(filepath.Join(dir, kind, strconv.Itoa(vmid)+".conf"))
		if !errors.Is(err, fs.ErrNotExist) {
			return ""
		}
	}
	list, err := (&Driver{o: Options{PVEDir: dir}}).vmlistFile()
	if err != nil || !list.has(vmid) {
		return ""
	}
	return cmp.Or(list.IDs[strconv.Itoa(vmid)].Node, "(unknown)")
}
