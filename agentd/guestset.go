package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
)

func guestSetCommand(stdout, stderr io.Writer) *cli.Command {
	flags := []cli.Flag{waitFlag(), jsonFlag()}
	for _, f := range guestFlags {
		switch f.name {
		case "image", "profile", "ready-wait", "env-file":
			flags = append(flags, &cli.StringFlag{Name: f.name, Usage: f.usage})
		case "memory":
			flags = append(flags, &cli.StringFlag{Name: f.name, Usage: "`SIZE` with a unit, such as 512m: the container's limit"})
		}
	}
	return &cli.Command{
		Name: "set", Usage: "Change the container of one guest, and see it come up", ArgsUsage: "VMID",
		Description: `What is not given stays. The guest's bootstrap.json is written again, and its
controller is replaced at once if the guest runs; one that does not become
ready is put back in the guest. A stopped guest is not started.

Example:
   felhom-agentd guest set 8200 --env MODE=edge --publish 9001:9001`,
		Flags: append(flags, containerFlags()...),
		Action: func(c *cli.Context) error {
			g, isSet, err := flaggedGuest(c)
			if err == nil && g.Memory != 0 {
				err = fmt.Errorf("--memory: want a size with a unit, such as %dm; the guest's own memory is the hypervisor's to change", g.Memory)
			}
			if err == nil && !isSet {
				err = errors.New("there is nothing to set")
			}
			if err != nil {
				return misuse(c, err)
			}
			return guestSet(c, g, "guest set", stdout, stderr)
		},
	}
}

func guestSetImageCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "set-image", Usage: "Have one guest run another image, and see it come up", ArgsUsage: "VMID REFERENCE",
		Description: `The image stays until another is asked for. If it does not become ready, the
guest puts back the one before and reports why.

Example:
   felhom-agentd guest set-image 8200 registry.example/team/app:1.1`,
		Flags: []cli.Flag{digestFlag(), waitFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			image, err := imageArg(c.Args().Get(1), c.String("digest"))
			if err != nil {
				return misuse(c, err)
			}
			return guestSet(c, config.Guest{Asked: config.Asked{Image: image}}, "guest set-image", stdout, stderr)
		},
	}
}

// guestSet changes the guest of the first argument to what g asks for.
func guestSet(c *cli.Context, g config.Guest, what string, stdout, stderr io.Writer) error {
	var err error
	if g.VMID, err = token.ParseVMID(c.Args().First()); err != nil {
		return misuse(c, err)
	}
	o := provisionArgs{guests: []config.Guest{g}, change: true, asJSON: c.Bool("json")}
	if o.wait, err = waitOf(c); err != nil {
		return err
	}
	cfg, err := loadConfig(c.String("config"))
	if err != nil {
		return err
	}
	return provisionGuests(c.Context, cfg, o, what, stdout, stderr)
}

func digestFlag() cli.Flag {
	return &cli.StringFlag{Name: "digest", Usage: "want the image to have this manifest `DIGEST`, sha256:…"}
}

// imageArg returns the reference with the digest, if one is given.
func imageArg(reference, digest string) (string, error) {
	ref, err := contract.ParseImageRef(reference)
	switch {
	case err != nil:
		return "", fmt.Errorf("image: %w, got %q", err, reference)
	case digest == "":
		return reference, nil
	}
	if _, err := contract.ParseDigest(digest); err != nil {
		return "", fmt.Errorf("--digest: %w, got %q", err, digest)
	}
	if ref.Digest().IsZero() {
		return reference + "@" + digest, nil
	}
	if !strings.HasSuffix(reference, "@"+digest) {
		return "", fmt.Errorf("--digest is %s, and the image has %s: give one of them", digest, ref.Digest())
	}
	return reference, nil
}
