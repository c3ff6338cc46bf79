package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/golden/internal/debroot"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Hooks are the parts of a base that other packages do.
type Hooks struct {
	// Seal removes from root what must not leave the build machine. It is safe to repeat.
	Seal func(ctx context.Context, root string) error
	// Script runs one script of the recipe inside root; a status other than 0
	// is an error that names it.
	Script func(ctx context.Context, root, path string, s recipe.Script) error
	// Step is called at the begin of each stage that takes time; done may be nil.
	Step func(name string) (done func())
	// Packages is told how many packages are "downloaded", "unpacked" or
	// "installed" of all that are known so far. It must be quick, and may be nil.
	Packages func(state string, done, total int)
	// Log gets what the programs of the build write. Nil drops it.
	Log io.Writer
}

// begin calls h.Step for a stage, and returns what ends it.
func begin(h Hooks, name string) func() {
	if h.Step == nil {
		return func() {}
	}
	if done := h.Step(name); done != nil {
		return done
	}
	return func() {}
}

// Base gives the finished base of p from the cache, and makes it when it is not
// there. The caller closes the layer when it has read what it needs.
func (p *Plan) Base(ctx context.Context, c Cache, h Hooks) (*Layer, error) {
	waiting := func() { begin(h, "wait for another build of the same base")() }
	packages, err := c.Layer(ctx, p.packagesKey, waiting, func(ctx context.Context, root string) error {
		if err := p.fill(ctx, root, c, h); err != nil {
			return err
		}
		if err := p.finish(ctx, root, h); err != nil {
			return err
		}
		return describe(root, p)
	})
	if err != nil || p.scriptsKey == "" {
		return packages, err
	}
	layer, err := c.Layer(ctx, p.scriptsKey, waiting, func(ctx context.Context, root string) error {
		if err := Copy(ctx, packages.Root, root); err != nil {
			return err
		}
		return p.customise(ctx, root, h)
	})
	return layer, errors.Join(err, packages.Close())
}

func (p *Plan) customise(ctx context.Context, root string, h Hooks) error {
	files, err := Files(&p.Recipe)
	if err != nil {
		return err
	}
	guest, err := p.guestFiles()
	if err != nil {
		return err
	}
	if err := overlay.Lay(root, append(guest, files...), p.Epoch); err != nil {
		return err
	}
	authorities, err := trusted(files)
	if err == nil && authorities { // before the scripts, which may need them
		err = p.trust(ctx, root, h)
	}
	if err != nil {
		return err
	}
	for _, s := range p.Recipe.Scripts {
		done := begin(h, "script "+path.Base(s.Path))
		if err := h.Script(ctx, root, p.Recipe.Local(s.Path), s); err != nil {
			return err
		}
		done()
	}
	return p.finish(ctx, root, h)
}

// Copy copies a root with owners, modes, times, hard links and extended
// attributes; where the file system can, without copying the data.
func Copy(ctx context.Context, from, to string) error {
	_, err := run.Run(ctx, run.Cmd{Path: "cp", Args: []string{"--archive", "--reflink=auto", "--no-target-directory", "--", from, to}, Env: environment(timeZero)})
	return diskHint(err)
}

// bootstrap lets mmdebstrap fill root. It works in mount and process
// namespaces of its own: when this program dies, even by SIGKILL, its children
// and its mounts go with it.
func (p *Plan) bootstrap(ctx context.Context, root string, h Hooks) (err error) {
	done := begin(h, "packages")
	sources := filepath.Join(filepath.Dir(root), "build.sources")
	if err := os.WriteFile(sources, apt.Format(p.Sources), 0o600); err != nil {
		return fmt.Errorf("write sources: %w", err)
	}
	log := &transcript{to: h.Log, counter: newPackageCounter(h.Packages)}
	if _, err := run.Run(ctx, run.Cmd{Path: "unshare", Args: p.bootstrapArgs(root, sources), Env: environment(p.Epoch), Dir: "/", Stdout: log, Stderr: log}); err != nil {
		if run.IsNotFound(err) {
			return fault.WrapHint(fault.Failed, errors.New("unshare is not installed"), "apt-get install util-linux mmdebstrap")
		}
		return classify("mmdebstrap", err, log.String(), p)
	}
	if err := os.Remove(sources); err != nil {
		return err
	}
	done()
	return nil
}

// neutralName runs its arguments under a name that no real machine has, so that
// packages do not write this machine's name into what they configure.
const neutralName = `echo localhost >/proc/sys/kernel/hostname
echo localdomain >/proc/sys/kernel/domainname
exec "$@"`

// neutralFiles is run by mmdebstrap before it configures any package: it has
// copied this machine's resolver and name by then. apt works outside of the root
// and keeps its own.
const neutralFiles = `rm -f "$1/etc/resolv.conf" "$1/etc/hostname" "$1/etc/hosts"
: >"$1/etc/resolv.conf"
echo localhost >"$1/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$1/etc/hosts"
chmod 0644 "$1/etc/resolv.conf" "$1/etc/hostname" "$1/etc/hosts"`

// bootstrapArgs are the arguments of unshare.
func (p *Plan) bootstrapArgs(root, sources string) []string {
	args := []string{
		"--mount", "--propagation=private", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--uts",
		"sh", "-c", neutralName, "sh",
		"mmdebstrap", "--mode=root", "--verbose", // what apt and dpkg write, at once
		"--extract-hook=" + neutralFiles, "--variant=minbase", "--format=directory",
		"--architectures=" + p.Recipe.Arch, "--include=" + strings.Join(p.Packages, ","),
		`--aptopt=APT::Install-Recommends "false"`,
		`--aptopt=Acquire::Languages "none"`,
		`--aptopt=Acquire::Retries "2"`,
		// The cache is thrown away on any failure, so nothing needs to be on
		// the disk before the next package: a third of the time is fsync.
		"--dpkgopt=force-unsafe-io",
	}
	if p.Recipe.Apt.Snapshot != "" {
		// Old Release files are past their Valid-Until; their signature still counts.
		args = append(args, `--aptopt=Acquire::Check-Valid-Until "false"`)
	}
	return append(args, p.Recipe.Suite, root, sources)
}

// finish brings root to the state that every base has: no trace of the build's
// sources and options, the units off that the recipe wants off, sealed.
func (p *Plan) finish(ctx context.Context, root string, h Hooks) (err error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, name := range []string{
		"etc/apt/sources.list", "etc/apt/sources.list.d/0000build.sources",
		"etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
	} {
		if err := r.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("finish base: %w", err)
		}
	}
	if err := emptyDev(r); err != nil {
		return fmt.Errorf("finish base: %w", err)
	}
	if err := disable(r, p.Recipe.Units.Disable); err != nil {
		return fmt.Errorf("disable units: %w", err)
	}
	if h.Seal == nil {
		return nil
	}
	done := begin(h, "seal")
	if err := h.Seal(ctx, root); err != nil {
		return err
	}
	done()
	return nil
}

// emptyDev removes mmdebstrap's device nodes: no guest's tar can make them, and
// the kernel's own are mounted over them. A /dev that is another file system
// than the root is a mount of another process, the machine's own in the worst case, and
// is refused before anything is removed.
func emptyDev(r *os.Root) error {
	top, err := r.Stat(".")
	if err != nil {
		return err
	}
	dev, err := r.Lstat("dev")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !dev.IsDir() || dev.Sys().(*syscall.Stat_t).Dev != top.Sys().(*syscall.Stat_t).Dev {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("/dev of %s: want a directory of the root's own file system, got another", r.Name()), "umount "+filepath.Join(r.Name(), "dev"))
	}
	nodes, err := fs.ReadDir(r.FS(), "dev")
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := r.RemoveAll("dev/" + n.Name()); err != nil {
			return err
		}
	}
	return nil
}

// classify gives what tool said its class and a way out.
func classify(tool string, err error, log string, p *Plan) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	code := -1
	var program *run.Error
	var dpkg *debroot.DpkgError
	switch {
	case errors.As(err, &program):
		code = program.ExitCode
	case errors.As(err, &dpkg):
		code = dpkg.Code
	}
	for _, c := range causes {
		if text := strings.TrimSpace(c.text.FindString(log)); text != "" {
			return fault.WrapHint(c.kind, fmt.Errorf("install packages of %s: %s: %s", p.Recipe.Suite, tool, pick(log, text)), c.hint)
		}
	}
	return fault.WrapHint(fault.Failed, fmt.Errorf("install packages of %s: %s ended with status %d: %s", p.Recipe.Suite, tool, code, lastLines(log, 5)), "--verbose shows everything that "+tool+" wrote")
}

// pick gives the lines of log that hold text, and apt's own errors.
func pick(log, text string) string {
	var list []string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if (strings.Contains(line, text) || strings.HasPrefix(line, "E: ") && !strings.Contains(line, "apt-get")) && len(list) < 5 {
			list = append(list, strings.TrimPrefix(line, "E: "))
		}
	}
	return strings.Join(list, "\n")
}

func lastLines(log string, n int) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}

// transcript keeps what stdout and stderr of a program say, which two
// goroutines copy, and passes it on.
type transcript struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	to      io.Writer       // may be nil
	counter *packageCounter // may be nil
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b) // never fails
	if _, err := t.counter.Write(b); err != nil {
		return 0, err
	}
	if t.to == nil {
		return len(b), nil
	}
	return t.to.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// cause is a reason of a failure, by what programs write about it.
type cause struct {
	text *regexp.Regexp // within a line
	kind fault.Kind
	hint string
}

// causes are looked for in this order.
var causes = []cause{
	{regexp.MustCompile(`mount /proc failed`), fault.Failed, "this is a container in which the kernel mounts no new /proc: --engine dpkg, or engine: dpkg in the recipe, works here"},
	diskFull,
	{regexp.MustCompile(`NO_PUBKEY|is not signed|BADSIG|EXPKEYSIG|couldn't be verified|Sub-process sqv returned an error`), fault.Mismatch, "the archive is not signed by the keys of its keyring: look at apt.keyring and apt.sources[].key in the recipe"},
	{regexp.MustCompile(`is expired|is not valid yet`), fault.Mismatch, "the archive's state is out of date, or this machine's clock is wrong; for an old state give apt.snapshot in the recipe"},
	{regexp.MustCompile(`Unable to locate package|has no installation candidate|couldn't find any package`), fault.Invalid, "the archives do not have this package: look at packages.include, suite and apt in the recipe"},
	{regexp.MustCompile(`Hash Sum mismatch|File has unexpected size`), fault.NotReady, "the mirror changed while it was read: try again"},
	{regexp.MustCompile(`Could not resolve|Could not connect|Connection refused|Connection timed out|Connection failed|Temporary failure|Network is unreachable`), fault.NotReady, "the mirror does not answer: try again, or name another one with apt.mirror in the recipe"},
	{regexp.MustCompile(`unmet dependencies|held broken packages`), fault.Invalid, "the packages do not fit together: look at packages in the recipe"},
}

// diskFull and cannotRun match causes, which are last in a line or in brackets: the
// directories, packages and files that a message names can contain the same words. Perl adds the
// line of the script, Rust the number of the error, and Python writes the number first.
var (
	diskFull = cause{
		regexp.MustCompile(`(?m)(?:\((?:28: )?No space left on device\)|: \[Errno 28\] No space left on device|` +
			`: No space left on device(?: at \S+ line \d+(?:, <\S+> line \d+)?| \(os error 28\))?[.;]?\s*$)`),
		fault.Failed, "the cache's disk is full: make room, or name another directory with --cache",
	}
	cannotRun = regexp.MustCompile(`(?m): exec format error\s*$`)
)

// diskHint gives a full disk its way out.
func diskHint(err error) error {
	if err != nil && (errors.Is(err, syscall.ENOSPC) || diskFull.text.MatchString(err.Error())) {
		return fault.WrapHint(diskFull.kind, err, diskFull.hint)
	}
	return err
}
