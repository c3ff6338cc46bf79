package sshd

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
)

// daemonName is argument 0 of the process that serves; see [MaybeDaemon].
const daemonName = "felhom-golden-serve"

// Config is what a serving process is told. It goes through a pipe.
type Config struct {
	Root     string
	Password [sha256.Size]byte
	Env      []string
	Network  bool
	WatchPID int // the server ends when this process does
}

// Daemon is a serving process. It has a mount namespace of its own, where the
// root's /tmp is a directory in memory that all sessions and SFTP share: what tools
// leave there is not in the image, and is gone with the process.
type Daemon struct {
	process *os.Process
	staged  *os.File
}

// Descriptors of the daemon, after the standard three.
const (
	fdConfig = 3 + iota
	fdListener
	fdStaged
	fdWatched
)

// Start starts the serving process on l, which the caller closes. Its sessions
// wait for [Daemon.Staged]. With stderr nil the process is on its own: no
// terminal, no output.
func Start(cfg Config, l *net.TCPListener, stderr *os.File) (d *Daemon, err error) {
	var open []io.Closer
	defer func() {
		for _, c := range open {
			_ = c.Close() // descriptors that the daemon has its own of
		}
	}()
	watched, err := unix.PidfdOpen(cfg.WatchPID, 0)
	if err != nil {
		return nil, fault.Wrap(fault.Misuse, fmt.Errorf("watch process %d: %w", cfg.WatchPID, err))
	}
	watchedFile := os.NewFile(uintptr(watched), "watched")
	open = append(open, watchedFile)
	socket, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	open = append(open, socket)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	open = append(open, null)
	if stderr == nil {
		stderr = null
	}
	configR, configW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	open = append(open, configR, configW)
	stagedR, stagedW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	open = append(open, stagedR)

	process, err := os.StartProcess("/proc/self/exe", []string{daemonName}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{}, // the password's variable among what it does not get
		Files: []*os.File{null, null, stderr, configR, socket, stagedR, watchedFile},
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS},
	})
	if err != nil {
		hint := ""
		if errors.Is(err, syscall.EPERM) {
			hint = "a mount namespace needs root (CAP_SYS_ADMIN): run it as root"
		}
		return nil, errors.Join(fault.WrapHint(fault.Failed, fmt.Errorf("start server: %w", err), hint), stagedW.Close())
	}
	// Far smaller than a pipe holds, so that this cannot block.
	if err := json.NewEncoder(configW).Encode(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("start server: %w", err), stagedW.Close(), process.Kill())
	}
	return &Daemon{process: process, staged: stagedW}, nil
}

// Staged reports to the sessions whether there is a root. A caller that dies without
// a word has said no.
func (d *Daemon) Staged(ok bool) error {
	if !ok {
		return d.staged.Close()
	}
	_, err := d.staged.Write([]byte{1})
	return errors.Join(err, d.staged.Close())
}

// Release lets the process live on without the caller.
func (d *Daemon) Release() error { return d.process.Release() }

// Wait waits for the server's end, and ends it when ctx is done.
func (d *Daemon) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = d.process.Signal(syscall.SIGTERM) }) // gone already: Wait returns
	defer stop()
	state, err := d.process.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("serve: %w", err)
	case !state.Success():
		return fmt.Errorf("serve: server ended: %s", state)
	}
	return nil
}

// MaybeDaemon is the second call of a main function whose program uses this
// package, after enter.MaybeChild: in a process that [Start] made it serves, and
// the caller exits with the code. In any other it does nothing.
func MaybeDaemon(stderr io.Writer) (code int, isDaemon bool) {
	if len(os.Args) == 0 || os.Args[0] != daemonName {
		return 0, false
	}
	if err := keepOwnDescriptors(); err != nil {
		return int(exit.Print(stderr, daemonName, err)), true
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return int(exit.Print(stderr, daemonName, serveConfig(ctx))), true
}

func serveConfig(ctx context.Context) (err error) {
	var cfg Config
	in := os.NewFile(fdConfig, "config")
	if err := json.NewDecoder(in).Decode(&cfg); err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if err := in.Close(); err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	// Slave: mounts that staging makes are seen, those of the daemon are not.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		waitFor(fdWatched)
	}()
	socket := os.NewFile(fdListener, "listener")
	l, err := net.FileListener(socket)
	if err != nil {
		return errors.Join(fmt.Errorf("take listener: %w", err), socket.Close())
	}
	if err := socket.Close(); err != nil {
		return fmt.Errorf("take listener: %w", err)
	}
	staged := os.NewFile(fdStaged, "staged")
	defer func() { err = errors.Join(err, staged.Close()) }()
	s := &Server{
		Root: cfg.Root, Password: cfg.Password, Env: cfg.Env, Network: cfg.Network,
		Staged: func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = staged.Close() })
			defer stop()
			if n, _ := staged.Read(make([]byte, 1)); n != 1 { // how it ended makes no difference
				return ErrNotStaged
			}
			return mountTmp(cfg.Root)
		},
	}
	return s.Serve(ctx, l)
}

// keepOwnDescriptors closes what was handed down to the process that started
// us: the tool that reads its output would wait for our end. The Go runtime's own
// are known by their close-on-exec flag.
func keepOwnDescriptors() error {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, n := range names {
		fd, err := strconv.Atoi(n.Name())
		if err != nil || fd < fdConfig {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		switch {
		case err != nil: // the directory's own, closed by now
		case fd <= fdWatched:
			unix.CloseOnExec(fd)
		case flags&unix.FD_CLOEXEC == 0:
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitFor blocks until the process of a pidfd has ended.
func waitFor(pidfd int32) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: pidfd, Events: unix.POLLIN}}, -1)
		if n > 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
			return
		}
	}
}

// mountTmp puts a directory in memory on /tmp of the root. The root may hold any
// link: the kernel looks /tmp up as if it were in there.
func mountTmp(root string) (err error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", root, err)
	}
	defer func() { err = errors.Join(err, unix.Close(dir)) }()
	tmp, err := unix.Openat2(dir, "tmp", &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return fmt.Errorf("open %s/tmp: %w", root, err)
	}
	defer func() { err = errors.Join(err, unix.Close(tmp)) }()
	if err := unix.Mount("tmpfs", fmt.Sprintf("/proc/self/fd/%d", tmp), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("mount %s/tmp: %w", root, err)
	}
	return nil
}
