package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/termtext"
)

func templateCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "template", Usage: "List and remove the templates that guests are linked clones of",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "List the templates and the guests that use them", Flags: []cli.Flag{jsonFlag()},
				Action: func(c *cli.Context) error {
					return withTemplates(c, "template list", stderr, func(ctx context.Context, p *provision.Provisioner) error {
						list, err := p.Templates(ctx)
						if err != nil {
							return err
						}
						return printTemplates(stdout, list, c.Bool("json"))
					})
				},
			},
			{
				Name: "prune", Usage: "Remove templates of older golden images that no guest uses",
				Description: `Also finishes or removes what an interrupted provision left of a template. A template
that a guest uses stays, and so does one that felhom-agentd did not make.

Example:
   felhom-agentd template prune`,
				Flags: []cli.Flag{jsonFlag(), &cli.BoolFlag{Name: "all", Usage: "remove unused templates of the current golden image too"}},
				Action: func(c *cli.Context) error {
					return withTemplates(c, "template prune", stderr, func(ctx context.Context, p *provision.Provisioner) error {
						removed, err := p.PruneTemplates(ctx, c.Bool("all"))
						if err != nil {
							return err
						}
						return printPruned(stdout, removed, c.Bool("json"))
					})
				},
			},
		},
	}
}

func withTemplates(c *cli.Context, name string, stderr io.Writer, work func(context.Context, *provision.Provisioner) error) (err error) {
	cfg, err := loadConfig(c.String("config"))
	if err != nil {
		return err
	}
	if err := command.RequireRoot(name); err != nil {
		return err
	}
	p, done, err := provisionerOf(cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return work(c.Context, p)
}

// listedTemplate is a template as template list prints it.
type listedTemplate struct {
	Guest   int        `json:"guest"` // the template itself
	State   string     `json:"state"`
	Golden  string     `json:"golden,omitempty"`
	Storage string     `json:"storage,omitempty"`
	Made    *time.Time `json:"made,omitempty"`
	Clones  []int      `json:"clones"`
}

func printTemplates(stdout io.Writer, list []provision.Template, asJSON bool) error {
	if asJSON {
		out := []listedTemplate{}
		for _, t := range list {
			one := listedTemplate{Guest: t.VMID, State: string(t.State), Golden: t.Golden, Storage: t.Storage, Clones: append([]int{}, t.Guests...)}
			if !t.Made.IsZero() {
				one.Made = &t.Made
			}
			out = append(out, one)
		}
		return printJSON(stdout, out)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(stdout, "there are no templates")
		return err
	}
	var b strings.Builder
	for _, t := range list {
		fmt.Fprintf(&b, "%-9d  %-10s  %-12s  %s  clones: %s\n", t.VMID, t.State, t.Storage, termtext.Line(filepath.Base(t.Golden), 0), numbers(t.Guests))
	}
	_, err := io.WriteString(stdout, b.String())
	return err
}

// numbers returns VMIDs with commas between them.
func numbers(vmids []int) string {
	if len(vmids) == 0 {
		return "none"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(vmids), "[]"), " ", ", ")
}

// prunedTemplates is what template prune prints.
type prunedTemplates struct {
	Removed []int `json:"removed"`
}

func printPruned(stdout io.Writer, removed []int, asJSON bool) error {
	if asJSON {
		return printJSON(stdout, prunedTemplates{append([]int{}, removed...)})
	}
	text := "there is nothing to remove\n"
	if len(removed) > 0 {
		text = fmt.Sprintf("removed: %s\n", numbers(removed))
	}
	_, err := io.WriteString(stdout, text)
	return err
}

// templateState returns what doctor says of the templates.
func templateState(ctx context.Context, cfg config.Config) (found []checks.Finding) {
	h, err := hypervisorOf(cfg)
	if err != nil {
		return nil // the check of the hypervisor says so
	}
	store, err := openStore(cfg)
	if err != nil || store == nil {
		return nil // the check of the store says so
	}
	defer func() { found = append(found, checks.FromError(store.Close(), "run it again")...) }()
	p := provision.New(provision.Options{Hypervisor: h, Store: store, StateDir: cfg.StateDir, Golden: cfg.Provision.Golden})
	list, err := p.Templates(ctx)
	if err != nil {
		return checks.FromError(err, "felhom-agentd template list")
	}
	for _, t := range list {
		switch {
		case t.State == provision.TemplateUnfinished:
			found = append(found, checks.Warn("felhom-agentd template prune finishes or removes it", "template %d: an interrupted command left it unfinished", t.VMID))
		case t.State == provision.TemplateStale && len(t.Guests) == 0:
			found = append(found, checks.Warn("felhom-agentd template prune removes it", "template %d is of another golden image, and no guest uses it", t.VMID))
		case t.State == provision.TemplateMissing:
			found = append(found, checks.Warn("look at that guest; new guests get another template", "template %d was removed or changed", t.VMID))
		}
	}
	return found
}
