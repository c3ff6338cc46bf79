package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/command"
)

// verifyOptions is what the command line of verify says.
type verifyOptions struct {
	archive string
	format  string // text, json, junit
	sidecar bool   // compare with ARCHIVE.sha256 if it exists
	check   verify.Options
}

func verifyCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "judge an archive by the rules, without unpacking it",
		ArgsUsage: "[ARCHIVE] (- reads stdin)",
		Description: `Exit codes: 0 passed, 3 refused (a rule failed, or the archive is hostile or truncated), 4 not the archive that was expected.

Example:
    felhom-golden verify --strict vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "profile", Value: string(verify.Golden), Usage: "`NAME` of a set of rules: golden, which has all; restore, only what restore fails on or changes silently"},
			&cli.StringSliceFlag{Name: "enable", Usage: "check only this `RULE`; may be repeated"},
			&cli.StringSliceFlag{Name: "skip", Usage: "do not check this `RULE`; may be repeated"},
			&cli.BoolFlag{Name: "strict", Usage: "count warnings as errors"},
			&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
			&cli.BoolFlag{Name: "junit", Usage: "print the report as JUnit XML"},
			&cli.StringFlag{Name: "sha256", Usage: "the archive's `HASH`; default: from ARCHIVE.sha256 if it exists"},
			&cli.StringSliceFlag{Name: "allow-set-id", Usage: "set-id `PATH` beyond Debian's own; may be repeated"},
			&cli.StringSliceFlag{Name: "allow-world-writable", Usage: "world-writable `PATH`; may be repeated"},
			&cli.StringSliceFlag{Name: "allow-capability", Usage: "`PATH` with file capabilities; may be repeated"},
			&cli.StringSliceFlag{Name: "allow-secret", Usage: "`PATH` whose content may look like a secret; may be repeated"},
			&cli.StringSliceFlag{Name: "forbid-name", Usage: "`TEXT` (a host name, a path) that must not occur in settings; may be repeated"},
			&cli.StringSliceFlag{Name: "hostname", Usage: "`NAME` that /etc/hostname may hold; may be repeated"},
			&cli.BoolFlag{Name: "list", Usage: "list the rules"},
			&cli.StringFlag{Name: "explain", Usage: "explain one `RULE`"},
		},
		Action: func(c *cli.Context) error {
			if c.Bool("list") || c.IsSet("explain") {
				return showRules(std.out, c, rules.All())
			}
			opts, err := checkVerifyOptions(c)
			if err != nil {
				return err
			}
			return verifyArchive(c.Context, std, opts)
		},
	}
}

func checkVerifyOptions(c *cli.Context) (verifyOptions, error) {
	if c.NArg() == 0 {
		return verifyOptions{}, command.MissingArgument(c, "ARCHIVE")
	}
	opts := verifyOptions{archive: c.Args().First(), format: "text", sidecar: !c.IsSet("sha256"), check: verify.Options{
		Profile: verify.Profile(c.String("profile")), Enable: c.StringSlice("enable"), Skip: c.StringSlice("skip"), Strict: c.Bool("strict"),
		SHA256: strings.TrimSpace(c.String("sha256")), BuildNames: c.StringSlice("forbid-name"), Hostnames: c.StringSlice("hostname"),
		Allow: verify.Allow{
			SetID: c.StringSlice("allow-set-id"), WorldWritable: c.StringSlice("allow-world-writable"),
			Capabilities: c.StringSlice("allow-capability"), Secrets: c.StringSlice("allow-secret"),
		},
	}}
	switch {
	case !opts.sidecar && opts.check.SHA256 == "": // most often a variable of a script that is not set: nothing would be compared
		return opts, misuse("--sha256 is empty", "leave it out: ARCHIVE.sha256 is compared if it exists")
	case !opts.sidecar && !isHash(opts.check.SHA256):
		return opts, misuse(fmt.Sprintf("--sha256: want 64 hex digits, got %q", opts.check.SHA256), "give the first word that sha256sum prints")
	case c.Bool("json") && c.Bool("junit"):
		return opts, misuse("verify: both --json and --junit given", "give one of the two")
	case c.Bool("json"):
		opts.format = "json"
	case c.Bool("junit"):
		opts.format = "junit"
	}
	return opts, nil
}

// verifyArchive prints the report and returns the judgement. A machine's
// report is the product and goes to stdout also when the archive failed; the
// text of a failed one is talk.
func verifyArchive(ctx context.Context, std stdio, opts verifyOptions) (err error) {
	in, name, err := openArchive(ctx, std.in, opts.archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	switch {
	case opts.archive == "-":
		opts.check.Skip = append(opts.check.Skip, "archive-name")
		if len(opts.check.Enable) > 0 {
			opts.check.Skip = nil
		}
	case opts.sidecar:
		if opts.check.SHA256, err = readSidecar(opts.archive + ".sha256"); err != nil {
			return err
		}
	}
	report, err := verify.Archive(ctx, boundMemory(in), name, opts.check)
	if err != nil {
		return err
	}
	failed := report.Err()
	switch {
	case opts.format == "json":
		err = report.WriteJSON(std.out)
	case opts.format == "junit":
		err = report.WriteJUnit(std.out)
	case failed != nil:
		err = report.WriteText(std.err)
	default:
		err = report.WriteText(std.out)
	}
	return errors.Join(err, failed)
}

// showRules serves --list and --explain of verify and seal.
func showRules(w io.Writer, c *cli.Context, table []rules.Rule) error {
	if c.NArg() > 0 {
		return misuse(c.Command.Name+": --list and --explain take no arguments", "")
	}
	if id := c.String("explain"); id != "" {
		r, ok := rules.ByID(id)
		if !ok {
			return misuse(fmt.Sprintf("%s: unknown rule %q", c.Command.Name, id), "--list shows the rules")
		}
		sealed := r.Seal
		if sealed == "" {
			sealed = "nothing"
		}
		_, err := fmt.Fprintf(w, "%s (%s, %s)\n  why:    %s\n  seal:   %s\n  verify: %s\n", r.ID, r.Severity, r.Group, r.Reason, sealed, r.Check)
		return err
	}
	for _, r := range table {
		if _, err := fmt.Fprintf(w, "%-21s %-8s %-9s %s\n", r.ID, r.Severity, r.Group, r.Check); err != nil {
			return err
		}
	}
	return nil
}
