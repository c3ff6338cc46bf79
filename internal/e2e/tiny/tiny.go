// Package tiny makes the smallest archive that a hypervisor restores and starts:
// a guest whose whole system is an init that waits for the signal to end. It is
// for tests of restore, start and removal, which need no Debian.
package tiny

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

// Options say in what an archive differs from the plain one.
type Options struct {
	Config   string // pct.conf; "" is Config()
	InitMode uint32 // 0 is 0755
	// Padding is how large a file is put before the init; it compresses to
	// nothing where it is not Random.
	Padding int64
	Random  bool
	// EndAfter makes the init say something on its console and end by itself
	// after so long; 0: it waits to be told.
	EndAfter time.Duration
}

// Write makes the archive at path with conf as its pct.conf. It needs the go
// command, for the init.
func Write(ctx context.Context, path, conf string) error {
	return WriteWith(ctx, path, Options{Config: conf})
}

// WriteWith is Write with options.
func WriteWith(ctx context.Context, path string, o Options) (err error) {
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
	if err := write(f, program, o); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
	}
	return f.Close()
}

func write(f *os.File, program []byte, o Options) error {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	frame, err := vzdump.NewFrame(f, vzdump.Fast, epoch, vzdump.NewMembers())
	if err != nil {
		return err
	}
	all := []error{frame.AddConfig([]byte(cmp.Or(o.Config, Config())))}
	add := func(e vzdump.Entry, content []byte) {
		e.ModTime, e.Size = epoch, int64(len(content))
		all = append(all, frame.Add(&e, bytes.NewReader(content)))
	}
	if o.Padding > 0 {
		e := vzdump.Entry{Path: "padding", Type: vzdump.File, Mode: 0o644, ModTime: epoch, Size: o.Padding}
		var content io.Reader = rand.NewChaCha8([32]byte{1}) // the same bytes at each run
		if !o.Random {
			content = zeros{}
		}
		add(vzdump.Entry{Path: ".", Type: vzdump.Dir, Mode: 0o755}, nil)
		all = append(all, frame.Add(&e, io.LimitReader(content, o.Padding)))
	}
	paths := []string{".", "dev", "etc", "etc/network", "proc", "run", "sbin", "sys", "tmp"}
	if o.Padding > 0 {
		paths = paths[1:]
	}
	for _, path := range paths {
		add(vzdump.Entry{Path: path, Type: vzdump.Dir, Mode: 0o755}, nil)
		if path == "etc" && o.EndAfter > 0 {
			add(vzdump.Entry{Path: "etc/end-after", Type: vzdump.File, Mode: 0o644}, []byte(o.EndAfter.String()))
		}
		if path == "sbin" {
			add(vzdump.Entry{Path: "sbin/init", Type: vzdump.File, Mode: cmp.Or(o.InitMode, 0o755)}, program)
		}
	}
	return errors.Join(append(all, frame.Finish())...)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
