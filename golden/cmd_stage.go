package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/felhom/felhom-golden/golden/internal/build"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/golden/internal/stage"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/systemd"
)

// bakeOptions are the flags that stage and build share.
type bakeOptions struct {
	recipe    string
	cache     string
	bootstrap string
	epoch     time.Time
	verbose   bool
	engine    stage.Engine
}

func bakeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "recipe", Usage: "`FILE` to bake by; without it the built-in recipe"},
		&cli.StringFlag{Name: "cache", Usage: "`DIRECTORY` of bases, images and frames (default: felhom-golden in the user's cache directory)"},
		&cli.StringFlag{Name: "bootstrap", Usage: "bake in this `FILE` as felhom-controller-bootstrap (default: the installed one for the architecture of the image)"},
		&cli.StringFlag{Name: "engine", Usage: "`PROGRAM` that installs the packages, dpkg or mmdebstrap, whatever the recipe says"},
		&cli.BoolFlag{Name: "verbose", Usage: "show what the programs of the build write"},
	}
}

func newBakeOptions(c *cli.Context, needsRoot bool) (bakeOptions, error) {
	o := bakeOptions{recipe: c.String("recipe"), cache: c.String("cache"), bootstrap: c.String("bootstrap"), verbose: c.Bool("verbose")}
	for _, flag := range []string{"recipe", "cache", "bootstrap"} {
		if c.IsSet(flag) && c.String(flag) == "" { // most often a variable of a script that is not set
			return o, misuse("--"+flag+" is empty", "leave it out for the default")
		}
	}
	var err error
	if o.engine, err = stage.ParseEngine(c.String("engine")); err != nil {
		return o, err
	}
	if v, ok := os.LookupEnv("SOURCE_DATE_EPOCH"); ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n <= 0 {
			return o, misuse(fmt.Sprintf("SOURCE_DATE_EPOCH: want seconds since 1970, got %q", v), "unset it: the date of the sources is the default")
		}
		o.epoch = time.Unix(n, 0).UTC()
	}
	if needsRoot && os.Geteuid() != 0 {
		return o, misuse("building a root file system needs root", "sudo felhom-golden …")
	}
	if o.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			dir = "/var/cache" // no HOME, as in a unit
		}
		o.cache = filepath.Join(dir, program)
	}
	if o.cache, err = filepath.Abs(o.cache); err != nil {
		return o, err
	}
	if o.bootstrap == "" {
		return o, nil // findBootstrap: it depends on the recipe
	}
	if _, err := os.Stat(o.bootstrap); errors.Is(err, fs.ErrNotExist) {
		return o, misuse("no felhom-controller-bootstrap at "+o.bootstrap, "--bootstrap names it; make build puts it beside felhom-golden")
	}
	return o, nil
}

// bootstrapName is the guest's program.
const bootstrapName = "felhom-controller-bootstrap"

// findBootstrap returns the guest's program for an architecture: beside this program, as "make build" and a tarball have it, or where
// the package felhom-golden has it. A name without an architecture is taken as it is; the build checks what it was built for.
func findBootstrap(self, arch string) (string, error) {
	dir := filepath.Dir(self)
	places := []string{
		filepath.Join(dir, bootstrapName+"-linux-"+arch),
		filepath.Join(dir, bootstrapName),
		filepath.Join(dir, "../lib", program, bootstrapName+"-linux-"+arch),
	}
	for _, place := range places {
		_, err := os.Stat(place)
		if err == nil {
			return place, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", misuse(fmt.Sprintf("no %s for %s: looked at %s", bootstrapName, arch, strings.Join(places, ", ")),
		"install the package felhom-golden, or name the program with --bootstrap; make build puts it beside felhom-golden")
}

// readRecipe reads the recipe that o names.
func (o *bakeOptions) readRecipe() (recipe.Recipe, error) {
	if o.recipe == "" {
		return recipe.Default()
	}
	return recipe.Read(o.recipe)
}

// fillBootstrap looks for the guest's program, unless it was named.
func (o *bakeOptions) fillBootstrap(arch string) error {
	if o.bootstrap != "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	o.bootstrap, err = findBootstrap(self, arch)
	return err
}

func buildSettings(o bakeOptions, std stdio) build.Settings {
	s := build.Settings{
		Cache: o.cache, Bootstrap: o.bootstrap, Units: systemd.Guest(), Epoch: o.epoch, Builder: version, Engine: o.engine,
		Progress: progress.New(std.err, progress.Options{Terminal: isTerminal(std.err)}),
	}
	if o.verbose {
		s.Log = std.err
	}
	return s
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func stageCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "stage",
		Usage:     "make the root file system of a recipe in a directory",
		ArgsUsage: "ROOT",
		Description: `ROOT is a directory that does not exist yet, or is empty. Beside it ROOT` + build.RecordSuffix + ` records what it was made of, which pack reads.
The base (packages, scripts) comes from the cache when nothing it depends on has changed.

Exit codes: 0 done, 1 failed, 2 misuse, 3 recipe refused, 4 an archive's signature did not fit, 5 a mirror or registry does not answer, 130 interrupted.

Example:
    felhom-golden stage --recipe golden.yaml /var/tmp/root`,
		Flags: bakeFlags(),
		Action: func(c *cli.Context) error {
			o, err := newBakeOptions(c, true)
			if err != nil {
				return err
			}
			return stageRoot(c.Context, c.Args().First(), o, std)
		},
	}
}

func stageRoot(ctx context.Context, root string, o bakeOptions, std stdio) error {
	r, err := o.readRecipe()
	if err == nil {
		err = o.fillBootstrap(r.Arch)
	}
	if err != nil {
		return err
	}
	root, err = filepath.Abs(root)
	if err != nil {
		return fault.Wrap(fault.Misuse, err)
	}
	return build.Stage(ctx, root, r, buildSettings(o, std))
}
