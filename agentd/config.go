package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/docs"
	"github.com/felhom/felhom-golden/internal/fault"
)

func configCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "Print the configuration, or an example of one",
		Description: `With --print: the configuration with all defaults, without secrets. With
--example: a file with every key, each with its description and a placeholder as
value, to copy keys from.

Example:
   felhom-agentd config --example > agentd.yaml.example`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "print", Usage: "print the configuration with all defaults"},
			&cli.BoolFlag{Name: "example", Usage: "print an example with every key"},
		},
		Action: func(c *cli.Context) error {
			switch {
			case c.Bool("print") == c.Bool("example"):
				return misuse(c, errors.New("want --print, --example or check"))
			case c.Bool("example"):
				_, err := io.WriteString(stdout, docs.ExampleConfig())
				return err
			}
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			text, err := cfg.Print()
			if err != nil {
				return err
			}
			_, err = stdout.Write(text)
			return err
		},
		Subcommands: []*cli.Command{{
			Name: "check", Usage: "Find what is wrong with the configuration and a specification",
			Description: `Reads the files alone, and looks at nothing else of this host: felhom-agentd check
does that.

Example:
   felhom-agentd config check --spec guests.yaml`,
			Flags: []cli.Flag{&cli.StringFlag{Name: "spec", Usage: "`FILE` with several guests (docs/agentd.md)"}, jsonFlag()},
			Action: func(c *cli.Context) error {
				return configCheck(c.String("config"), c.String("spec"), c.Bool("json"), stdout)
			},
		}},
	}
}

// checkedConfig is what config check prints of files with which nothing is wrong.
type checkedConfig struct {
	Config string `json:"config"`
	Spec   string `json:"spec,omitempty"`
	Guests []int  `json:"guests,omitempty"` // VMIDs of the specification
}

// configCheck reads both files, and finds all that is wrong in them.
func configCheck(file, spec string, asJSON bool, stdout io.Writer) error {
	out := checkedConfig{Config: file, Spec: spec}
	var found findings
	cfg, err := loadConfig(file)
	found.add("", err)
	if spec != "" {
		list, err := readGuests(spec)
		found.add("", err)
		asked := make([]config.Guest, 0, len(list))
		for _, g := range list {
			g = g.With(cfg.Provision.Guest)
			for _, err := range fault.Each(g.Check()) {
				found.add(g.About(), fault.WrapHint(fault.Invalid, err, "docs/agentd.md describes every key"))
			}
			asked = append(asked, g)
			out.Guests = append(out.Guests, g.VMID)
		}
		found.add("", togetherFault(asked))
	}
	if err := fault.All(found...); err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, out)
	}
	files := file
	if spec != "" {
		files += " and " + spec
	}
	_, err = fmt.Fprintf(stdout, "nothing is wrong with %s\n", files)
	return err
}

func togetherFault(list []config.Guest) error {
	return fault.WrapHint(fault.Invalid, config.CheckTogether(list), "give each guest an address of its own")
}

// readGuests reads a specification.
func readGuests(file string) ([]config.Guest, error) {
	data, err := readConfig(file)
	if err != nil {
		return nil, fault.WrapHint(fault.Invalid, err, "name the file of the guests")
	}
	list, err := config.ParseGuests(file, data)
	return list, fault.WrapHint(fault.Invalid, err, "docs/agentd.md describes every key")
}
