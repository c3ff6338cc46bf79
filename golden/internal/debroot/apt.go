package debroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
)

// resolver asks this machine's apt which packages belong to a root, in a state of its own: nothing of this machine's
// configuration, sources or packages plays a part.
type resolver struct {
	req  *Request
	dir  string // of apt's state; removed afterwards
	conf string
	log  io.Writer
}

// newResolver makes apt's state in dir.
func newResolver(req *Request, dir string, l *lists, log io.Writer) (*resolver, error) {
	if strings.ContainsAny(dir+l.dir, "\"\n\\") {
		return nil, fault.WrapHint(fault.Misuse, fmt.Errorf("cache at %s: apt takes no quotes and backslashes in a path", dir), "name another directory with --cache")
	}
	r := &resolver{req: req, dir: dir, conf: filepath.Join(dir, "apt.conf"), log: log}
	for _, d := range []string{"etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "var/lib/apt", "var/cache/apt/archives/partial", "var/log/apt", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("prepare apt: %w", err)
		}
	}
	var conf strings.Builder
	for _, kv := range [][2]string{
		{"Apt::Architecture", req.Arch},
		{"Apt::Architectures", req.Arch},
		{"Apt::Install-Recommends", "false"},
		{"Acquire::Languages", "none"},
		{"Acquire::Retries", "2"},
		{"Dir", dir},
		{"Dir::State::status", filepath.Join(dir, "status")},
		{"Dir::State::lists", l.path(indexDir)},
		{"Dir::Cache::srcpkgcache", l.path(sourceCache)},
		// Without it apt takes itself for essential.
		{"pkgCacheGen::ForceEssential", ","},
		// The cache belongs to root alone, so that apt's own user could not read it.
		{"APT::Sandbox::User", "root"},
		{"Debug::NoLocking", "true"}, // the directory is this process's own
	} {
		fmt.Fprintf(&conf, "%s %q;\n", kv[0], kv[1])
	}
	if req.Snapshot {
		// Old Release files are past their Valid-Until; their signature still counts.
		conf.WriteString("Acquire::Check-Valid-Until \"false\";\n")
	}
	for name, text := range map[string]string{
		"apt.conf": conf.String(), "status": "", "etc/apt/sources.list.d/build.sources": string(apt.Format(req.Sources)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("prepare apt: %w", err)
		}
	}
	// apt does not take a cache that is older than the sources. That the sources are the cache's is known here by the state's name.
	for _, name := range []string{"etc/apt/sources.list.d/build.sources", "etc/apt/sources.list.d"} {
		if err := os.Chtimes(filepath.Join(dir, name), time.Time{}, time.Unix(0, 0)); err != nil {
			return nil, fmt.Errorf("prepare apt: %w", err)
		}
	}
	return r, nil
}

// get runs apt-get and returns what it wrote to stdout.
func (r *resolver) get(ctx context.Context, args ...string) (string, error) {
	return r.getIn(ctx, r.dir, args...)
}

func (r *resolver) getIn(ctx context.Context, dir string, args ...string) (string, error) {
	var out bytes.Buffer
	_, err := run.Run(ctx, run.Cmd{
		Path: "apt-get", Args: args, Dir: dir, Env: append(slices.Clone(r.req.Env), "APT_CONFIG="+r.conf, "TMPDIR="+filepath.Join(r.dir, "tmp")),
		Stdout: io.MultiWriter(&out, r.log), Stderr: r.log,
	})
	return out.String(), err
}

// update fetches the signed indexes, and checks that they are those that the caller has asked for.
func (r *resolver) update(ctx context.Context, lists string) error {
	if _, err := r.get(ctx, "update", "--error-on=any"); err != nil {
		return err
	}
	return checkReleases(lists, r.req.Releases)
}

// errChanged is the error of a mirror that has another state than when it was asked first.
var errChanged = fault.WrapHint(fault.NotReady, errors.New("the mirror changed while it was read"), "try again")

// checkReleases reports whether lists has all of the releases, by the digest of InRelease. apt has verified their signatures.
func checkReleases(lists string, releases []apt.Release) error {
	names, err := fs.Glob(os.DirFS(lists), "*InRelease") // lists may have brackets in it
	if err != nil {
		return err
	}
	sums := map[string]bool{}
	for _, name := range names {
		sum, err := fileSum(filepath.Join(lists, name), "SHA256")
		if err != nil {
			return err
		}
		sums[sum] = true
	}
	for _, rel := range releases {
		if !sums[rel.SHA256] {
			return fmt.Errorf("suite %s of %s: %w", rel.Suite, rel.URI, errChanged)
		}
	}
	return nil
}

// selection is what apt would do to install some packages.
type selection struct {
	Packages []pkg    // in the order in which apt would unpack them
	Steps    []step   // what dpkg has to do, in this order
	Auto     []string // of Packages, those that were not asked for by name; sorted
}

// action is what dpkg does to packages in one step.
type action string

const (
	unpack    action = "unpack" // also over an older version
	configure action = "configure"
	remove    action = "remove" // of those that were essential packages' dependencies until another took their place
)

// step is a row of packages that one dpkg can take.
type step struct {
	Do    action
	Names []string
}

// pkg is one package of an archive.
type pkg struct {
	Name    string
	Version string
	File    string // the name that apt gives to its file
	SumType string // SHA256 or SHA512
	Sum     string // by the signed index
}

// choose asks apt what it takes to install args.
func (r *resolver) choose(ctx context.Context, args ...string) (selection, error) {
	var plan, uris string
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		plan, err = r.get(gctx, append([]string{"--simulate", "--yes", "install"}, args...)...)
		return err
	})
	g.Go(func() (err error) {
		uris, err = r.get(gctx, append([]string{"--print-uris", "-oAcquire::ForceHash=SHA256", "--yes", "install"}, args...)...)
		return err
	})
	if err := g.Wait(); err != nil {
		return selection{}, err
	}
	return parseSelection(plan, uris)
}

// pattern is apt's for the packages of the suite and architecture that are of some kind.
func (r *resolver) pattern(kind string) string {
	return fmt.Sprintf("?narrow(?or(?archive(^%s$),?codename(^%s$)),?architecture(%s),%s)", r.req.Suite, r.req.Suite, r.req.Arch, kind)
}

// markInstalled makes apt take packages of the store for installed.
func (r *resolver) markInstalled(files []string) error {
	var b strings.Builder
	for _, file := range files {
		text, err := control(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s\nStatus: install ok installed\n\n", strings.TrimSpace(text))
	}
	return os.WriteFile(filepath.Join(r.dir, "status"), []byte(b.String()), 0o600)
}

// download fetches the files of packages into a directory of its own, whose path it returns.
func (r *resolver) download(ctx context.Context, packages []pkg) (string, error) {
	dir := filepath.Join(r.dir, "download")
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	words := []string{"download"}
	for _, p := range packages {
		words = append(words, p.Name+"="+p.Version)
	}
	_, err := r.getIn(ctx, dir, words...)
	return dir, err
}
