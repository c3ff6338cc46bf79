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
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/felhom/felhom-golden/golden/internal/build"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
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
}

func bakeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "recipe", Usage: "`FILE` to bake by; without it the built-in recipe"},
		&cli.StringFlag{Name: "cache", Usage: "`DIRECTORY` of bases, images and frames (default: felhom-golden in the user's cache directory)"},
		&cli.StringFlag{Name: "bootstrap", Usage: "felhom-controller-bootstrap `FILE` to bake in (default: beside this program)"},
		&cli.BoolFlag{Name: "verbose", Usage: "show what the programs of the build write"},
	}
}

func newBakeOptions(c *cli.Context, needsRoot bool) (bakeOptions, error) {
	o := bakeOptions{recipe: c.String("recipe"), cache: c.String("cache"), bootstrap: c.String("bootstrap"), verbose: c.Bool("verbose")}
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
	var err error
	if o.cache, err = filepath.Abs(o.cache); err != nil {
		return o, err
	}
	if o.bootstrap == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find this program: %w", err)
		}
		o.bootstrap = filepath.Join(filepath.Dir(self), "felhom-controller-bootstrap")
	}
	if _, err := os.Stat(o.bootstrap); errors.Is(err, fs.ErrNotExist) {
		return o, misuse("no felhom-controller-bootstrap at "+o.bootstrap, "--bootstrap names it; make build puts it beside felhom-golden")
	}
	return o, nil
}

func readRecipe(path string) (recipe.Recipe, error) {
	if path == "" {
		return recipe.Default()
	}
	return recipe.Read(path)
}

func buildSettings(o bakeOptions, std stdio) build.Settings {
	s := build.Settings{
		Cache: o.cache, Bootstrap: o.bootstrap, Units: systemd.Guest(), Epoch: o.epoch, Builder: version,
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

    felhom-golden stage --recipe golden.yaml /var/tmp/root

Exit code: 0 done, 1 failed, 2 misuse, 3 recipe refused, 4 an archive's signature did not fit, 5 a mirror or registry does not answer, 130 interrupted.`,
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
	r, err := readRecipe(o.recipe)
	if err != nil {
		return err
	}
	root, err = filepath.Abs(root)
	if err != nil {
		return fault.Wrap(fault.Misuse, err)
	}
	return build.Stage(ctx, root, r, buildSettings(o, std))
}
