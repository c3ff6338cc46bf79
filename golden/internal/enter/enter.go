// Package enter runs a program inside a root directory as if that directory were
// a machine. Call [Run] or [Script]; main calls [MaybeChild] first. The program
// has its own mounts, process ids, host name and IPC, with /proc, a read-only
// /sys, a minimal /dev, and empty /run and /tmp in memory. It is for image
// scripts: a package that is installed in there starts no daemon, learns
// nothing of this machine, and leaves no mount and no process behind, whatever
// ends it.
//
// It is a guard against accidents and not a sandbox: the program is root, and
// what it wants to do to the machine on purpose it can. Nothing runs in there
// that its caller did not choose.
//
// How it holds: the program's pid 1 is this same binary, started again in its
// namespaces (see [MaybeChild]). It holds the reading end of a pipe whose
// writing end only the caller has. When the caller dies, even by SIGKILL, the
// pipe ends, pid 1 kills what is left and goes; with its last process the
// kernel drops the namespace and every mount in it.
package enter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Options is one program to run inside a root.
type Options struct {
	Root string   // directory that becomes /
	Argv []string // program and arguments; a name without a slash is looked up in PATH of Env
	Env  []string // nil: [BaseEnv]
	Dir  string   // inside the root; "": /

	Stdin  io.Reader // nil: empty
	Stdout io.Writer // nil: dropped
	Stderr io.Writer // nil: dropped

	// Network gives the program this machine's network and name servers, which
	// installing packages needs. Without it there is a loopback of its own.
	Network bool

	// SharedTmp leaves /tmp of the root as the caller's mount namespace has it,
	// so that several programs see the same files there. Otherwise each gets an
	// empty /tmp in memory.
	SharedTmp bool

	// Hand is a directory of this machine that the program has at [HandDir],
	// without what is mounted in it and read-only. "" hands in none.
	Hand string

	// NoSync makes fsync and its like do nothing, and succeed. It is for a root that is
	// thrown away when its making fails: nothing in it has to be on the disk earlier.
	NoSync bool
}

// HandDir is where a program has [Options.Hand].
const HandDir = "/run/felhom-golden-hand"

// killDelay is how long pid 1 has to clean up once its caller wants an end;
// termDelay, shorter, is what it gives the program between SIGTERM and SIGKILL.
const (
	killDelay = 5 * time.Second
	termDelay = 2 * time.Second
)

// Run runs a program inside opts.Root and returns its exit status; ended by
// signal n it is 128+n, as in a shell. A status other than 0 is not an error. An
// error means that the program did not start, or was stopped because ctx was
// done; then the code is -1. When Run returns, no process of the program is
// left and nothing is mounted.
func Run(ctx context.Context, opts Options) (code int, err error) {
	return start(ctx, opts, nil)
}

// Script is [Run] for a script that is outside of the root: it is handed in
// by descriptor, is in memory below /run while it runs, and is never part of
// the root. opts.Argv holds its arguments only. A script without "#!" is given
// to /bin/sh, as shells do.
func Script(ctx context.Context, opts Options, path string) (code int, err error) {
	f, err := regular.Open(path)
	if err != nil {
		return -1, fault.WrapHint(fault.Invalid, fmt.Errorf("open script: %w", err), "scripts are files outside of the root")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	opts.Argv = append([]string{filepath.Join(scriptDir, filepath.Base(path))}, opts.Argv...)
	return start(ctx, opts, f)
}

// order is what pid 1 is told. It goes through a pipe: the environment may hold
// secrets, and arguments can be read by everyone.
type order struct {
	Root      string
	Argv      []string
	Env       []string
	Dir       string
	Resolver  []byte // content for /etc/resolv.conf; nil without network
	SharedTmp bool
	Hand      string
	NoSync    bool
	Script    bool // descriptor fdScript is Argv[0]'s content
}

// outcome is what pid 1 reports before it ends. Without one it was killed.
type outcome struct {
	Code    int
	Error   string   `json:",omitempty"`
	Hint    string   `json:",omitempty"`
	Refused bool     `json:",omitempty"` // the root or the program is not fit
	Made    []string `json:",omitempty"` // placeholders in the root, sent before they are made
}

// Descriptors of pid 1, after stdin, stdout and stderr.
const (
	fdOrder = 3 + iota
	fdLifeline
	fdOutcome
	fdScript
)

func start(ctx context.Context, opts Options, script *os.File) (code int, err error) {
	if err := ctx.Err(); err != nil {
		return -1, context.Cause(ctx)
	}
	ord, err := newOrder(opts, script != nil)
	if err != nil {
		return -1, err
	}
	p, err := newPipes()
	if err != nil {
		return -1, fmt.Errorf("enter %s: %w", opts.Root, err)
	}
	defer func() { err = errors.Join(err, p.close()) }()

	cmd := childCommand(opts, p, script)
	if err := cmd.Start(); err != nil {
		hint := ""
		if errors.Is(err, syscall.EPERM) {
			hint = "new namespaces need root (CAP_SYS_ADMIN): run it as root"
		}
		return -1, fault.WrapHint(fault.Failed, fmt.Errorf("enter %s: start in new namespaces: %w", opts.Root, err), hint)
	}
	_ = p.closeChildEnds() // only descriptors of this process; the child has its own

	orderErr := make(chan error, 1)
	go func() {
		orderErr <- errors.Join(json.NewEncoder(p.orderW).Encode(ord), p.orderW.Close())
	}()
	stop := context.AfterFunc(ctx, func() { _ = p.lifelineW.Close() }) // the only news there is: "end now"
	defer stop()
	out, readErr := readOutcome(p.outcomeR)
	forced := time.AfterFunc(killDelay, func() { _ = cmd.Process.Kill() }) // it said its last word, or was killed
	waitErr := cmd.Wait()
	forced.Stop()
	cleanErr := removePlaceholders(opts.Root, out.Made)

	switch {
	case ctx.Err() != nil:
		return -1, errors.Join(fmt.Errorf("%s in %s: %w", name(ord.Argv), opts.Root, context.Cause(ctx)), cleanErr)
	case readErr != nil:
		return -1, errors.Join(fmt.Errorf("enter %s: pid 1 ended early: %w", opts.Root, errors.Join(readErr, waitErr, <-orderErr)), cleanErr)
	case out.Error != "":
		class := fault.Failed
		if out.Refused {
			class = fault.Invalid
		}
		return -1, errors.Join(fault.WrapHint(class, fmt.Errorf("enter %s: %s", opts.Root, out.Error), out.Hint), cleanErr)
	}
	return out.Code, cleanErr
}

func newOrder(opts Options, script bool) (order, error) {
	root, err := filepath.Abs(opts.Root)
	if err != nil {
		return order{}, fmt.Errorf("enter %s: %w", opts.Root, err)
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		if err == nil {
			err = errors.New("not a directory")
		}
		return order{}, fault.WrapHint(fault.Invalid, fmt.Errorf("enter %s: %w", opts.Root, err), "make one with: felhom-golden stage "+opts.Root)
	}
	if root == "/" {
		return order{}, fault.WrapHint(fault.Invalid, errors.New("enter /: that is this machine"), "give the directory that holds the staged root file system")
	}
	if len(opts.Argv) == 0 {
		return order{}, fault.Wrap(fault.Misuse, errors.New("no program to run"))
	}
	ord := order{Root: root, Argv: opts.Argv, Env: opts.Env, Dir: opts.Dir, SharedTmp: opts.SharedTmp, NoSync: opts.NoSync, Script: script}
	if opts.Hand != "" {
		if ord.Hand, err = filepath.Abs(opts.Hand); err != nil {
			return order{}, fmt.Errorf("enter %s: %w", opts.Root, err)
		}
	}
	if ord.Env == nil {
		ord.Env = BaseEnv()
	}
	if ord.Dir == "" {
		ord.Dir = "/"
	}
	if opts.Network {
		// Without a file there is no name server, and that is what the
		// program must see.
		ord.Resolver, err = os.ReadFile(resolvConf)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return order{}, fmt.Errorf("enter %s: %w", opts.Root, err)
		}
		if ord.Resolver == nil {
			ord.Resolver = []byte{}
		}
	}
	return ord, nil
}

func childCommand(opts Options, p *pipes, script *os.File) *exec.Cmd {
	// No CommandContext: it would kill pid 1 before it could clean up.
	cmd := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{childName},
		Env:        childEnv,
		Stdin:      opts.Stdin,
		Stdout:     opts.Stdout,
		Stderr:     opts.Stderr,
		ExtraFiles: []*os.File{p.orderR, p.lifelineR, p.outcomeW},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		},
		// A reader that never ends must not hold Wait once the program is gone.
		WaitDelay: killDelay,
	}
	if script != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, script)
	}
	if !opts.Network {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	return cmd
}

// maxOutcome bounds the reports: a program may get hold of the pipe of pid 1, because it
// is root in there. maxStatus is the highest exit status that there is.
const (
	maxOutcome = 1 << 20
	maxStatus  = 255
)

// readOutcome reads reports until pid 1 has ended or said its last word. The
// placeholders are kept from the first report, also when no last one comes.
func readOutcome(r io.Reader) (outcome, error) {
	dec := json.NewDecoder(io.LimitReader(r, maxOutcome))
	var first outcome
	if err := dec.Decode(&first); err != nil {
		return outcome{}, err
	}
	if slices.ContainsFunc(first.Made, func(path string) bool { return path != policyRcD && path != resolvConf }) {
		return outcome{}, errors.New("it names a file that it does not make")
	}
	last := first
	if first.Error == "" {
		last = outcome{}
		if err := dec.Decode(&last); err != nil {
			return outcome{Made: first.Made}, err
		}
		last.Made = first.Made
	}
	if last.Code < 0 || last.Code > maxStatus {
		return outcome{Made: first.Made}, fmt.Errorf("it reports the exit status %d", last.Code)
	}
	return last, nil
}

func name(argv []string) string { return filepath.Base(argv[0]) }
