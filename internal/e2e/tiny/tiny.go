// Package tiny makes the smallest archive that a hypervisor restores and starts:
// a guest whose whole system is an init that waits for the signal to end. It is
// for tests of restore, start and removal, which need no Debian.
package tiny

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Config is the pct.conf of the archive that Write makes.
func Config() string {
	return "arch: " + runtime.GOARCH + `
features: keyctl=1,nesting=1
hostname: small
memory: 64
net0: name=eth0,bridge=vmbr0,ip=dhcp,type=veth
ostype: debian
rootfs: local-lvm:vm-9100-disk-0,size=1G
unprivileged: 1
`
}

// Write makes the archive at path with conf as its pct.conf. It needs the go
// command, for the init.
func Write(ctx context.Context, path, conf string) (err error) {
	dir, err := os.MkdirTemp("", "felhom-tiny-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	init := filepath.Join(dir, "init")
	_, err = run.Run(ctx, run.Cmd{
		Path: "go", Args: []string{"build", "-o", init, "github.com/felhom/felhom-golden/internal/e2e/tiny/init"},
		Env: append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="),
	})
	if err != nil {
		return err
	}
	program, err := os.ReadFile(init)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f, program, conf); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
	}
	return f.Close()
}

func write(f *os.File, program []byte, conf string) error {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	frame, err := vzdump.NewFrame(f, vzdump.Fast, epoch, vzdump.NewMembers())
	if err != nil {
		return err
	}
	all := []error{frame.AddConfig([]byte(conf))}
	add := func(e vzdump.Entry, content []byte) {
		e.ModTime, e.Size = epoch, int64(len(content))
		all = append(all, frame.Add(&e, bytes.NewReader(content)))
	}
	for _, path := range []string{".", "dev", "etc", "etc/network", "proc", "run", "sbin", "sys", "tmp"} {
		add(vzdump.Entry{Path: path, Type: vzdump.Dir, Mode: 0o755}, nil)
		if path == "sbin" {
			add(vzdump.Entry{Path: "sbin/init", Type: vzdump.File, Mode: 0o755}, program)
		}
	}
	return errors.Join(append(all, frame.Finish())...)
}
