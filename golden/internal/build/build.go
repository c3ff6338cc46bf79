// Package build bakes a recipe into a verified archive. Call [Run]; or [Check],
// which bakes nothing; or [Stage] and then [Pack], with changes in between. The
// steps are plan, base, seal, overlay, pack, verify and records.
//
// It holds the order and what is shown and recorded; each step is in a package
// of its own. An archive gets its name after it has passed verify, and its
// records are beside it before that.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/pack"
	"github.com/felhom/felhom-golden/golden/internal/preload"
	"github.com/felhom/felhom-golden/golden/internal/provenance"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/golden/internal/seal"
	"github.com/felhom/felhom-golden/golden/internal/stage"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Settings are what every command here needs beside the recipe.
type Settings struct {
	Cache     string       // directory of bases, images and frames
	Bootstrap string       // felhom-controller-bootstrap on this machine
	Units     fs.FS        // unit files for the guest
	Epoch     time.Time    // zero: the newest date of the sources
	Builder   string       // version of this program
	Engine    stage.Engine // what installs the packages; "" is the recipe's
	Progress  *progress.Printer
	Log       io.Writer // what the programs of the build write; nil drops it
}

// baked is a resolved recipe with its base and overlay.
type baked struct {
	plan    stage.Plan
	base    *stage.Layer
	overlay []overlay.File
	images  []preload.Image
}

// prepare does all up to the point where base and overlay are there. The caller
// closes the base.
func prepare(ctx context.Context, r recipe.Recipe, s Settings) (_ *baked, err error) {
	if err := checkCache(s.Cache); err != nil {
		return nil, err
	}
	st := s.Progress.Start("plan")
	plan, err := stage.Resolve(ctx, r, stage.Options{Epoch: s.Epoch, Engine: s.Engine, SealSpec: fmt.Sprint(r.Seal)})
	if err := fault.All(err); err != nil {
		return nil, err
	}
	st.Done("done", plan.Epoch.Format(time.RFC3339))
	for _, w := range plan.Warnings {
		s.Progress.Line("warning: " + w)
	}
	w := &baked{plan: plan}
	w.images, err = fetchImages(ctx, r, s)
	if err != nil {
		return nil, err
	}
	st = s.Progress.Start("base")
	w.base, err = plan.Base(ctx, stage.Cache{Dir: s.Cache}, stage.Hooks{
		Seal: func(ctx context.Context, root string) error { return sealRoot(ctx, root, r, plan.Epoch) },
		Script: func(ctx context.Context, root, path string, script recipe.Script) error {
			return runScript(ctx, root, path, script, s.Log)
		},
		Step: func(name string) func() {
			st.Note(name)
			return nil
		},
		Packages: func(state string, done, total int) {
			st.Count(stage.PackagesText(state, done, total), int64(done), int64(total))
		},
		Log: s.Log,
	})
	if err != nil {
		return nil, err
	}
	result := "made"
	if w.base.Reused {
		result = "reused"
	}
	st.Done(result, plan.BaseKey()[:12])
	w.overlay, err = w.lay(s)
	if err == nil {
		err = plan.CheckEngine(ctx, w.base.Root, w.overlay)
	}
	if err != nil {
		return nil, errors.Join(err, w.base.Close())
	}
	return w, nil
}

func (w *baked) lay(s Settings) ([]overlay.File, error) {
	files := []overlay.File{}
	for _, img := range w.images {
		files = append(files, overlay.File{Path: strings.TrimPrefix(contract.PreloadDir, "/") + "/" + img.File, Mode: 0o644, Source: img.Path})
	}
	if len(files) > 0 {
		index, err := preload.Index(w.images)
		if err != nil {
			return nil, err
		}
		files = append(files, overlay.File{Path: strings.TrimPrefix(contract.PreloadDir, "/") + "/" + contract.PreloadIndex, Mode: 0o644, Data: index})
	}
	profile, err := pack.ParseProfile(w.plan.Recipe.Output.Profile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	return w.plan.Overlay(w.base.Root, stage.Own{Bootstrap: s.Bootstrap, Units: s.Units, Images: files, DpkgConfig: profile.DpkgConfig()})
}

// wants lists the images that r brings along.
func wants(r recipe.Recipe) []preload.Want {
	var list []preload.Want
	if r.Controller.Image != "" {
		list = append(list, preload.Want{Reference: r.Controller.Image, Archive: r.Local(r.Controller.Archive)})
	}
	for _, p := range r.Preload {
		list = append(list, preload.Want{Reference: p.Image, Archive: r.Local(p.Archive)})
	}
	return list
}

func fetchImages(ctx context.Context, r recipe.Recipe, s Settings) ([]preload.Image, error) {
	wants := wants(r)
	if len(wants) == 0 {
		return nil, nil
	}
	st := s.Progress.Start("images")
	var list []preload.Image
	for _, w := range wants {
		st.Note(w.Reference)
		img, err := preload.Fetch(ctx, w, r.Arch, filepath.Join(s.Cache, "images"))
		if err != nil {
			return nil, err
		}
		list = append(list, img)
	}
	warnings, err := imageWarnings(r, list)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		s.Progress.Line("warning: " + w)
	}
	st.Done("done", fmt.Sprintf("%d image(s)", len(list)))
	return list, nil
}

func sealRoot(ctx context.Context, root string, r recipe.Recipe, epoch time.Time) error {
	_, err := seal.Apply(ctx, root, seal.Options{Enable: r.Seal.Enable, Skip: r.Seal.Skip, Epoch: epoch})
	return err
}

func runScript(ctx context.Context, root, path string, s recipe.Script, log io.Writer) error {
	over := []string{}
	for name, value := range s.Env {
		over = append(over, name+"="+value)
	}
	slices.Sort(over)
	said := &lastWords{to: log}
	code, err := enter.Script(ctx, enter.Options{
		Root: root, Argv: s.Args, Env: enter.MergeEnv(enter.BaseEnv(), over...), Stdout: said, Stderr: said, Network: s.Network,
	}, path)
	if err != nil {
		return fmt.Errorf("script %s: %w", s.Path, err)
	}
	if code != 0 {
		text := fmt.Sprintf("script %s: want exit status 0, got %d", s.Path, code)
		if tail := said.String(); tail != "" {
			text += "; it wrote last:\n" + tail
		}
		return fault.WrapHint(fault.Failed, errors.New(text), "--verbose shows all that the script wrote; nothing of this build was kept")
	}
	return nil
}

// lastWords keeps the end of what a script writes, from both of its streams.
type lastWords struct {
	mu  sync.Mutex
	buf []byte
	to  io.Writer // may be nil
}

// maxLastWords is what an error quotes of a script, in bytes.
const maxLastWords = 1 << 10

func (l *lastWords) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, b...)
	l.buf = l.buf[max(len(l.buf)-maxLastWords, 0):]
	if l.to == nil {
		return len(b), nil
	}
	return l.to.Write(b)
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(termtext.Lines(string(l.buf)))
}

// manifest records what w is made of; the archive is filled in later.
func (w *baked) manifest(s Settings, compression string) (provenance.Manifest, error) {
	r := w.plan.Recipe
	status, err := regular.Open(filepath.Join(w.base.Root, "var/lib/dpkg/status"))
	if err != nil {
		return provenance.Manifest{}, fmt.Errorf("record packages: %w", err)
	}
	packages, err := image.ReadPackages(status)
	if err := errors.Join(err, status.Close()); err != nil {
		return provenance.Manifest{}, err
	}
	digest, err := provenance.Digest(r)
	if err != nil {
		return provenance.Manifest{}, err
	}
	m := provenance.Manifest{
		SchemaVersion: provenance.SchemaVersion, Name: r.Name, Builder: s.Builder, Epoch: w.plan.Epoch, Suite: r.Suite, Arch: r.Arch,
		RecipeSHA256: digest, BaseKey: w.plan.BaseKey(), Packages: packages,
		Settings: map[string]string{"compression": compression, "profile": r.Output.Profile},
		Releases: map[string]provenance.Release{}, Tools: map[string]string{}, Inputs: map[string]string{},
	}
	for _, rel := range w.plan.Releases {
		m.Releases[rel.Suite+" "+rel.URI] = provenance.Release{SHA256: rel.SHA256, Date: rel.Date}
	}
	for _, t := range w.plan.Tools {
		m.Tools[t.Name] = t.Version
	}
	for _, in := range w.plan.Inputs {
		m.Inputs["script "+in.Path] = in.SHA256
	}
	for _, img := range w.images {
		m.Inputs["image "+img.Reference] = img.ConfigDigest
	}
	for _, f := range w.overlay {
		sum, err := stage.Sum(f)
		if err != nil {
			return provenance.Manifest{}, err
		}
		m.Inputs["/"+f.Path] = sum
	}
	return m, nil
}
