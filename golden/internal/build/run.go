package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/pack"
	"github.com/felhom/felhom-golden/golden/internal/provenance"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/golden/internal/stage"
	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/scratch"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// packJob is what is to be packed.
type packJob struct {
	root    string         // sealed; not to be changed
	overlay []overlay.File // sorted; wins over root
	recipe  recipe.Recipe
	epoch   time.Time
	key     string // of root: equal keys, equal trees; "" if it is not known
	cache   string // directory of frames; "" without a key
	path    string // archive to write; its directory is there, it is not
}

// Target says where an archive goes.
type Target struct {
	Dir   string // where archive and records go
	Path  string // the archive itself; "" is in Dir, with the name by VMID and time
	Force bool   // replace what is there
}

// Result is a finished build.
type Result struct {
	Path     string
	Manifest provenance.Manifest
	Report   verify.Report
}

// Run makes the archive of r.
func Run(ctx context.Context, r recipe.Recipe, t Target, s Settings) (_ Result, err error) {
	// First: a run that was killed at its very end has its archive, which is refused below.
	if err := scratch.Sweep(t.dir()); err != nil {
		return Result{}, err
	}
	if err := checkTarget(t); err != nil {
		return Result{}, err
	}
	w, err := prepare(ctx, r, s)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, w.base.Close()) }()
	path, err := targetPath(t, r, w.plan.Epoch)
	if err != nil {
		return Result{}, err
	}
	m, err := w.manifest(s, r.Output.Compression)
	if err != nil {
		return Result{}, err
	}
	job := packJob{root: w.base.Root, overlay: w.overlay, recipe: r, epoch: w.plan.Epoch, key: w.plan.BaseKey(), cache: filepath.Join(s.Cache, "frames")}
	res, err := publish(ctx, path, t.Force, job, m, s.Progress)
	return res, errors.Join(err, stage.Cache{Dir: s.Cache}.Trim())
}

// Pack makes the archive of a root that [Stage] has made and that may have been
// changed since. It seals root, and writes its closed preset again.
func Pack(ctx context.Context, root string, t Target, s Settings) (Result, error) {
	rec, err := readRecord(root)
	if err != nil {
		return Result{}, err
	}
	if err := scratch.Sweep(t.dir()); err != nil { // as in Run
		return Result{}, err
	}
	path, err := targetPath(t, rec.Recipe, rec.Epoch)
	if err != nil {
		return Result{}, err
	}
	st := s.Progress.Start("seal")
	preset, err := stage.Preset(os.DirFS(root), nil)
	if err != nil {
		return Result{}, err
	}
	if err := overlay.Lay(root, []overlay.File{preset}, rec.Epoch); err != nil {
		return Result{}, err
	}
	if err := sealRoot(ctx, root, rec.Recipe, rec.Epoch); err != nil {
		return Result{}, err
	}
	st.Done("done", "")
	status, err := regular.Open(filepath.Join(root, "var/lib/dpkg/status"))
	if err != nil {
		return Result{}, fmt.Errorf("record packages: %w", err)
	}
	rec.Manifest.Packages, err = image.ReadPackages(status)
	if err := errors.Join(err, status.Close()); err != nil {
		return Result{}, err
	}
	job := packJob{root: root, recipe: rec.Recipe, epoch: rec.Epoch}
	return publish(ctx, path, t.Force, job, rec.Manifest, s.Progress)
}

// dir returns the directory of the archive.
func (t Target) dir() string {
	if t.Path != "" {
		return filepath.Dir(t.Path)
	}
	return t.Dir
}

// checkTarget refuses a target that no archive can be written to. It needs no base: a
// mistake shows before minutes of work.
func checkTarget(t Target) error {
	dir := t.dir()
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return misplaced(fmt.Errorf("look at the directory of the archive: %s is not a directory", dir), "make it, or name another one")
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return misplaced(fmt.Errorf("look at the directory of the archive: write to %s: %w", dir, err), "name a directory that can be written to")
	}
	if t.Path == "" {
		return nil // its name follows from the sources' date
	}
	_, err = os.Lstat(t.Path)
	if err == nil && !t.Force {
		return misplaced(fmt.Errorf("look at the archive: %s already exists", t.Path), "--force replaces it; another recipe needs its own name or guest.vmid")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return misplaced(fmt.Errorf("look at the archive: %w", err), "name another one")
	}
	return nil
}

// targetPath returns where the archive goes; one that already exists is refused early.
func targetPath(t Target, r recipe.Recipe, epoch time.Time) (string, error) {
	path := t.Path
	if path == "" {
		path = filepath.Join(t.Dir, vzdump.Name{VMID: r.Guest.VMID, Time: epoch.UTC(), Ext: "zst"}.String())
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return path, checkTarget(Target{Path: path, Force: t.Force})
}

func misplaced(err error, hint string) error { return fault.WrapHint(fault.Misuse, err, hint) }

// publish packs and verifies in a directory beside path and renames the results,
// the archive last: an archive under its name has passed, and has its records.
func publish(ctx context.Context, path string, force bool, job packJob, m provenance.Manifest, p *progress.Printer) (_ Result, err error) {
	dir, name := filepath.Split(path)
	tmp, err := scratch.New(dir)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, tmp.Close()) }()
	job.path = filepath.Join(tmp.Path, name)
	st := p.Start("pack")
	packed, err := packArchive(ctx, job, func(done, total int64) { st.Bytes(done, total) })
	if err != nil {
		return Result{}, err
	}
	m.Archive = provenance.Archive{Name: name, SHA256: packed.SHA256, Size: packed.Size}
	result := "done"
	if packed.BaseReused {
		result = "reused"
	}
	st.Done(result, fmt.Sprintf("%s, %d members", progress.Bytes(packed.Size), packed.Entries))
	st = p.Start("verify")
	report, err := verifyFile(ctx, job, packed, m)
	if err != nil {
		return Result{}, err
	}
	st.Done("passed", fmt.Sprintf("%d rules, %d warning(s)", len(report.Rules), report.Warnings))
	for _, f := range report.Findings {
		p.Line(fmt.Sprintf("warning: %s: %s: %s", f.Rule, f.Path, f.Message))
	}
	sbom, err := m.SBOM()
	if err != nil {
		return Result{}, err
	}
	manifest, err := m.Encode()
	if err != nil {
		return Result{}, err
	}
	records := []document{
		{".notes", []byte(m.Notes())},
		{".sha256", []byte(m.Archive.SHA256 + "  " + name + "\n")},
		{provenance.SBOMSuffix, sbom},
		{provenance.Suffix, manifest},
	}
	lock, err := claim(ctx, filepath.Dir(path), p)
	if err != nil {
		return Result{}, err
	}
	if err := errors.Join(place(job.path, path, force, records), lock.Close()); err != nil {
		return Result{}, err
	}
	return Result{Path: path, Manifest: m, Report: report}, nil
}

func packArchive(ctx context.Context, job packJob, told pack.Progress) (pack.Result, error) {
	config, err := job.recipe.Config()
	if err != nil {
		return pack.Result{}, fault.Wrap(fault.Invalid, err)
	}
	profile, err := pack.ParseProfile(job.recipe.Output.Profile)
	if err != nil {
		return pack.Result{}, fault.Wrap(fault.Invalid, err)
	}
	setting := vzdump.Release
	if job.recipe.Output.Compression == "fast" {
		setting = vzdump.Fast
	}
	return pack.Pack(ctx,
		pack.Source{Root: job.root, Overlay: job.overlay, Profile: profile, Config: config},
		pack.Output{Path: job.path, Epoch: job.epoch, Setting: setting, CacheDir: job.cache, CacheKey: job.key}, told)
}

// builderNames are the names of this machine that must not be in an image. They
// are written nowhere.
func builderNames() []string {
	name, err := os.Hostname()
	if err != nil {
		return nil // the kernel answers always
	}
	return distinctive(name)
}

// distinctive returns name and its first label, also in lower case as mail and DNS have
// them, but not a word that is common in the text of packages, such as "vm", "debian" or
// "docker".
func distinctive(name string) []string {
	label, _, _ := strings.Cut(name, ".")
	var list []string
	for _, n := range []string{name, label, strings.ToLower(name), strings.ToLower(label)} {
		marked := strings.ContainsAny(n, "0123456789-.") && len(n) >= 5
		isOwn := n == name || n == label // letters alone in another case are any word
		if n != "localhost" && !strings.HasPrefix(n, "localhost.") && (marked || isOwn && len(n) >= 9) && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

func trim(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = strings.TrimPrefix(p, "/")
	}
	return out
}
