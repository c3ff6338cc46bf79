package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The free space that counts is that of the directory in which this engine keeps its
// images, wherever that is.
func TestTheDiskOfTheEngineIsLookedAt(t *testing.T) {
	for name, c := range map[string]struct {
		isContainerd bool
		dataRoot     string
		full         string // the directory whose file system is small
		isRefused    bool
	}{
		"the usual place":                      {dataRoot: "/var/lib/docker", full: "/var/lib/docker", isRefused: true},
		"another place":                        {dataRoot: "/data/docker", full: "/data", isRefused: true},
		"another place, and the usual is full": {dataRoot: "/data/docker", full: "/var/lib/docker"},
		"it does not say":                      {full: "/var/lib/docker", isRefused: true},
		"containerd's":                         {isContainerd: true, dataRoot: "/data/docker", full: "/var/lib/containerd", isRefused: true},
		"containerd's, and the other is full":  {isContainerd: true, dataRoot: "/data/docker", full: "/data"},
	} {
		t.Run(name, func(t *testing.T) {
			g, e := fakeGuest(t)
			e.DataRoot, e.Containerd = c.dataRoot, c.isContainerd
			for _, dir := range []string{"/var/lib/docker", "/var/lib/containerd", "/data/docker"} {
				if !c.isContainerd && dir == "/var/lib/containerd" {
					continue
				}
				if err := os.MkdirAll(filepath.Join(g.root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			small := filepath.Join(g.root, c.full)
			if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
				t.Fatalf("mount a small file system: %v; this test needs root", err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			if err := os.MkdirAll(filepath.Join(g.root, "/data/docker"), 0o755); err != nil {
				t.Fatal(err)
			}
			if c.isRefused {
				g.want(1, []string{"it needs 32.0 MiB or more, and the disk of this guest has 1.0 MiB left"}, "--pull-patience", "1s")
				return
			}
			g.want(0, nil)
			wantRunning(t, e, "v1")
		})
	}
}
