package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/golden/internal/build"
	"github.com/felhom/felhom-golden/golden/internal/provenance"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/fault"
)

type buildOptions struct {
	bakeOptions
	out         string
	force       bool
	compression string
	check       bool
}

func buildCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "build",
		Usage:     "bake the archive of a recipe",
		ArgsUsage: "[A B]",
		Description: `The way of an image: plan, base (sealed), overlay, pack, verify. The archive appears in --out under the name that Proxmox VE wants,
with .notes, .sha256, ` + provenance.SBOMSuffix + ` and ` + provenance.Suffix + ` beside it, once it has passed verify. Its path is the one line on stdout.
SOURCE_DATE_EPOCH sets the image's time; the default is the newest date of the sources. Equal inputs give equal bytes.

Exit codes: 0 done (--explain: no recorded input differs), 1 failed (--explain: some differ), 2 misuse, 3 recipe or image
refused, 4 a signature or digest did not fit, 5 a mirror or registry does not answer, 130 interrupted.

Example:
    felhom-golden build --print-recipe > golden.yaml
    felhom-golden build --recipe golden.yaml --check
    felhom-golden build --recipe golden.yaml --out .
    felhom-golden build --explain A.tar.zst B.tar.zst`,
		Flags: append(bakeFlags(),
			&cli.StringFlag{Name: "out", Value: ".", Usage: "`DIRECTORY` for the archive and its records"},
			&cli.StringFlag{Name: "compression", Usage: "`SETTING` fast or release, in place of the recipe's"},
			&cli.BoolFlag{Name: "force", Usage: "replace an existing archive"},
			&cli.BoolFlag{Name: "check", Usage: "check recipe, files, programs, mirrors and registries, and bake nothing"},
			&cli.BoolFlag{Name: "print-recipe", Usage: "print the built-in recipe and do nothing else"},
			&cli.BoolFlag{Name: "explain", Usage: "show which recorded inputs of the two archives A and B differ, and do nothing else"},
			&cli.BoolFlag{Name: "json", Usage: "with --explain: print JSON"},
		),
		Action: func(c *cli.Context) error {
			if err := oneOf(c, "check", "print-recipe", "explain"); err != nil {
				return err
			}
			switch {
			case c.Bool("json") && !c.Bool("explain"):
				return misuse("build: --json is given without --explain", "the archive's records are JSON already")
			case c.Bool("explain") && c.NArg() < 2:
				return command.MissingArgument(c, []string{"A", "B"}[c.NArg()])
			case !c.Bool("explain") && c.NArg() > 0:
				return misuse(fmt.Sprintf("unexpected argument %q", c.Args().First()), "see felhom-golden build --help")
			case c.Bool("print-recipe"):
				_, err := std.out.Write(recipe.DefaultYAML())
				return err
			case c.Bool("explain"):
				return explain(c.Args().Get(0), c.Args().Get(1), c.Bool("json"), std)
			}
			o, err := newBuildOptions(c)
			if err != nil {
				return err
			}
			return buildImage(c.Context, o, std)
		},
	}
}

// oneOf refuses flags that exclude each other.
func oneOf(c *cli.Context, flags ...string) error {
	given := ""
	for _, name := range flags {
		if !c.Bool(name) {
			continue
		}
		if given != "" {
			return misuse(fmt.Sprintf("%s: --%s and --%s are given", c.Command.Name, given, name), "give one of them")
		}
		given = name
	}
	return nil
}

func newBuildOptions(c *cli.Context) (buildOptions, error) {
	o := buildOptions{out: c.String("out"), force: c.Bool("force"), compression: c.String("compression"), check: c.Bool("check")}
	if o.compression != "" && o.compression != "fast" && o.compression != "release" {
		return o, misuse(fmt.Sprintf("--compression: want fast or release, got %q", o.compression), "felhom-golden build --help")
	}
	var err error
	o.bakeOptions, err = newBakeOptions(c, !o.check)
	return o, err
}

func buildImage(ctx context.Context, o buildOptions, std stdio) error {
	r, err := o.readRecipe()
	if err != nil {
		return err
	}
	target := build.Target{Dir: o.out, Force: o.force}
	missing := o.fillBootstrap(r.Arch)
	switch {
	case o.check:
		path, err := build.Check(ctx, r, target, buildSettings(o.bakeOptions, std))
		if err := fault.All(missing, err); err != nil {
			return err
		}
		_, err = fmt.Fprintln(std.out, path)
		return err
	case missing != nil:
		return missing
	}
	if o.compression != "" {
		r.Output.Compression = o.compression
	}
	res, err := build.Run(ctx, r, target, buildSettings(o.bakeOptions, std))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, res.Path)
	return err
}

// explain prints the inputs that differ. Archives whose records agree and whose
// bytes do not are told apart by "diff", which this points at.
func explain(a, b string, asJSON bool, std stdio) error {
	ma, err := provenance.Read(a)
	if err != nil {
		return err
	}
	mb, err := provenance.Read(b)
	if err != nil {
		return err
	}
	list := provenance.Compare(ma, mb)
	if asJSON {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(struct {
			Differences []provenance.Difference `json:"differences"`
			SameBytes   bool                    `json:"same_bytes"`
		}{append([]provenance.Difference{}, list...), ma.Archive.SHA256 == mb.Archive.SHA256}); err != nil {
			return err
		}
	}
	for _, d := range list {
		if asJSON {
			break
		}
		if _, err := fmt.Fprintf(std.out, "%s: %s -> %s\n", d.Input, orNone(d.A), orNone(d.B)); err != nil {
			return err
		}
	}
	switch {
	case len(list) > 0:
		return differ{fmt.Errorf("%d recorded input(s) differ", len(list))}
	case ma.Archive.SHA256 != mb.Archive.SHA256:
		return differ{fmt.Errorf("every recorded input is the same, and the bytes differ: felhom-golden diff %s %s shows where", filepath.Base(a), filepath.Base(b))}
	}
	return nil
}

// differ is the answer "not the same", which is not a failure to answer: what was
// printed stays.
type differ struct{ error }

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
