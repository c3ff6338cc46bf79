// Package debroot fills an empty directory with Debian packages: call [Fill]. This machine's apt says which packages and in which
// order, and verifies the archives' signatures; the root's own dpkg unpacks and configures them, in the namespaces of package enter.
//
// It is fast because packages come from a store that outlives builds, verified and without their compression, because no package
// is written to the disk for certain before the next one, and because nothing is asked twice. It decides nothing that
// dpkg and apt decide: conffiles, diversions, triggers and scripts are dpkg's alone.
package debroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/golden/internal/enter"
)

// Request says what goes into a root.
type Request struct {
	Suite     string        // Debian code name
	Arch      string        // Debian architecture, which this machine can run
	Sources   []apt.Source  // each with SignedBy
	Releases  []apt.Release // the states of the archives that the packages must come from
	Packages  []string      // arguments of "apt-get install"; "name-" is kept out
	Snapshot  bool          // the archives' states are old
	Key       string        // names all of the above, the keyrings and this machine's apt: equal keys, equal packages
	State     string        // the same without Packages: equal states, equal indexes
	Cache     string        // directory of the package store
	Env       []string      // of apt
	ScriptEnv []string      // of the packages' scripts
}

// expired reports whether an archive's state is past its end. What is kept of it does not count then: apt is asked again, and refuses
// it. Otherwise a mirror could offer a state without last month's corrections for ever.
func (r *Request) expired() bool {
	return !r.Snapshot && slices.ContainsFunc(r.Releases, func(rel apt.Release) bool {
		return !rel.ValidUntil.IsZero() && time.Now().After(rel.ValidUntil)
	})
}

// Watch is told how it goes; all of it may be nil.
type Watch struct {
	Log    io.Writer   // what apt and dpkg write
	Dpkg   io.Writer   // what dpkg writes
	Expect func(n int) // n more packages are going to be installed
}

// Fill fills the empty directory at path with the packages of req that are essential or required, those that req names, and all that
// they need. After an error it holds what was there so far; nothing outside of it and of req.Cache was changed, nothing is mounted,
// and no process is left.
func Fill(ctx context.Context, path string, req Request, w Watch) (err error) {
	if w.Log == nil {
		w.Log = io.Discard
	}
	if w.Dpkg == nil {
		w.Dpkg = io.Discard
	}
	if w.Expect == nil {
		w.Expect = func(int) {}
	}
	packages, err := cachedir.Open(filepath.Join(req.Cache, "packages"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, packages.Close()) }()
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f := filler{req: &req, watch: w, path: path, root: root, store: store{packages, req.Env}}
	return packages.Scratch(func(dir string) error { return f.fill(ctx, dir) })
}

// inUse is longer than an installation takes: packages that were used since then may be
// those of a build that is under way.
const inUse = time.Hour

// Trim removes the packages of the store that were used longest ago, and none of the last hour's. It does the same to the indexes of
// archives, and removes none that are in use.
func Trim(cache string) error { return errors.Join(trimPackages(cache), trimLists(cache)) }

func trimPackages(cache string) (err error) {
	packages, err := cachedir.Open(filepath.Join(cache, "packages"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, packages.Close()) }()
	return packages.Trim(packagesKept, func(name string) error {
		info, err := os.Lstat(packages.Path(name))
		if err != nil || time.Since(info.ModTime()) < inUse {
			return err
		}
		return os.RemoveAll(packages.Path(name))
	})
}

type filler struct {
	req   *Request
	watch Watch
	path  string
	root  *os.Root
	store store

	scratch string // directory of this call
	apt     *resolver
}

func (f *filler) fill(ctx context.Context, scratch string) error {
	f.scratch = scratch
	chosen, err := f.remembered(ctx)
	if err != nil {
		return err
	}
	if chosen == nil {
		chosen, err = f.ask(ctx)
	} else {
		err = f.installEssential(ctx, chosen.Essential)
	}
	if err != nil {
		return err
	}
	if err := f.installRest(ctx, chosen.Rest); err != nil {
		return err
	}
	if err := f.root.WriteFile("var/lib/apt/extended_states", []byte(autoInstalled(chosen.Rest.Auto, f.req.Arch)), 0o644); err != nil {
		return err
	}
	return tidy(f.root)
}

// ask has apt say which packages the root is made of, fetches them, and installs the essential
// ones, because meanwhile apt says what the others are.
func (f *filler) ask(ctx context.Context) (_ *choice, err error) {
	l, err := openLists(ctx, f.req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if f.apt, err = newResolver(f.req, f.scratch, l, f.watch.Log); err != nil {
		return nil, err
	}
	var c choice
	if c.Essential, err = f.essential(ctx, l); err != nil {
		return nil, err
	}
	if err := f.fetch(ctx, c.Essential.Packages); err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		c.Rest, err = f.chooseRest(gctx, c.Essential)
		return err
	})
	g.Go(func() error { return f.installEssential(gctx, c.Essential) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &c, f.remember(c)
}

// essential returns the essential packages and all that they need, and what apt needs to know for the others.
func (f *filler) essential(ctx context.Context, l *lists) (selection, error) {
	if s, ok := l.essential(); ok {
		return s, checkReleases(l.path(indexDir), f.req.Releases)
	}
	if err := f.apt.update(ctx, l.path(indexDir)); err != nil {
		return selection{}, err
	}
	s, err := f.apt.choose(ctx, f.apt.pattern("?essential"))
	if err != nil {
		return s, err
	}
	return s, l.finish(ctx, s)
}

// fetch brings packages into the store.
func (f *filler) fetch(ctx context.Context, packages []pkg) error {
	missing, err := f.store.missing(ctx, packages)
	if err != nil || len(missing) == 0 {
		return err
	}
	dir, err := f.apt.download(ctx, missing)
	if err != nil {
		return err
	}
	return errors.Join(f.store.add(ctx, dir, missing), os.RemoveAll(dir))
}

func (f *filler) chooseRest(ctx context.Context, essential selection) (selection, error) {
	if err := f.apt.markInstalled(f.store.paths(essential.Packages)); err != nil {
		return selection{}, err
	}
	args := append(slices.Clone(f.req.Packages), f.apt.pattern("?and(?priority(required),?not(?essential))"))
	rest, err := f.apt.choose(ctx, args...)
	if err != nil {
		return rest, err
	}
	return rest, f.fetch(ctx, rest.Packages)
}

// installEssential makes the root into one in which dpkg runs, and has dpkg install the packages that it was made of.
func (f *filler) installEssential(ctx context.Context, s selection) error {
	f.watch.Expect(len(s.Packages))
	if err := lay(f.root, f.req.Arch); err != nil {
		return err
	}
	if err := seed(ctx, f.root, f.store.paths(s.Packages)); err != nil {
		return err
	}
	// Each of these may need all others; that is what dpkg is told to accept.
	return f.dpkg(ctx, command("--install --force-depends", fileArgs(s, names(s.Packages))))
}

// installRest has dpkg install packages as apt would.
func (f *filler) installRest(ctx context.Context, s selection) error {
	f.watch.Expect(len(s.Packages))
	var script strings.Builder
	for i, st := range s.Steps {
		switch { // with the options that apt gives
		case st.Do == unpack:
			script.WriteString(command("--no-triggers --unpack --auto-deconfigure", fileArgs(s, st.Names)))
		case st.Do == remove:
			script.WriteString(command("--no-triggers --force-depends --abort-after=1 --remove", st.Names))
		case i < len(s.Steps)-1:
			script.WriteString(command("--no-triggers --configure", st.Names))
		}
	}
	script.WriteString(command("--configure", []string{"-a"}))
	return f.dpkg(ctx, script.String())
}

// dpkg runs a script of dpkg's calls in the root.
func (f *filler) dpkg(ctx context.Context, script string) error {
	file := filepath.Join(f.scratch, "dpkg.sh")
	if err := os.WriteFile(file, []byte("#!/bin/sh\nset -e\n"+script), 0o700); err != nil {
		return err
	}
	out := io.MultiWriter(f.watch.Log, f.watch.Dpkg)
	code, err := enter.Script(ctx, enter.Options{
		Root: f.path, Env: f.req.ScriptEnv, Stdout: out, Stderr: out, Hand: f.store.dir.Path(""), NoSync: true,
	}, file)
	if err == nil && code != 0 {
		err = &DpkgError{Code: code}
	}
	return err
}

// DpkgError is a dpkg that ended with a status other than 0. What it said is in the log.
type DpkgError struct{ Code int }

func (e *DpkgError) Error() string { return fmt.Sprintf("dpkg: want exit status 0, got %d", e.Code) }

func names(packages []pkg) []string {
	list := make([]string, len(packages))
	for i, p := range packages {
		list[i] = p.Name
	}
	return list
}

// fileArgs returns the files of named packages as they are in the root.
func fileArgs(s selection, names []string) []string {
	files := map[string]string{}
	for _, p := range s.Packages {
		files[p.Name] = enter.HandDir + "/" + p.name()
	}
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = files[name]
	}
	return list
}

// command is one line of a script. No word needs quotes: names of packages and digests have no special characters.
func command(options string, args []string) string {
	return "dpkg " + options + " " + strings.Join(args, " ") + "\n"
}
