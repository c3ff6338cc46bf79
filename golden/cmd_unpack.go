package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/scratch"
	"github.com/felhom/felhom-golden/internal/unpack"
)

type unpackOptions struct {
	archive   string
	directory string
	config    string
	idmap     unpack.IDMap
}

func unpackCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "unpack",
		Usage:     "do the restore that Proxmox VE does, into a directory",
		ArgsUsage: "ARCHIVE DIRECTORY (- reads stdin)",
		Description: `DIRECTORY must not exist or be empty; on an error it is as before. What is below /dev and the guest's configuration do not come in;
--config keeps the latter. Owners are those of the archive unless --idmap says what they become.

Exit codes: 0 done, 1 failed, 2 misuse, 3 archive refused, 130 interrupted.

Example:
    felhom-golden unpack --idmap b:0:100000:65536 ARCHIVE DIRECTORY`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "idmap", Usage: "`TYPE:GUEST:HOST:COUNT` with type u, g or b for both; may be repeated"},
			&cli.StringFlag{Name: "config", Usage: "`FILE` to write the guest's pct.conf to"},
		},
		Action: func(c *cli.Context) error {
			o := unpackOptions{archive: c.Args().Get(0), directory: filepath.Clean(c.Args().Get(1)), config: c.String("config")}
			if o.directory == "." {
				return misuse("unpack: the directory is the current one", "name a directory that does not exist yet: it takes its place by a rename")
			}
			var err error
			if o.idmap, err = unpack.ParseIDMap(c.StringSlice("idmap")); err != nil {
				return fault.WrapHint(fault.Misuse, err, "an unprivileged guest's usual map is b:0:100000:65536")
			}
			return unpackArchive(c.Context, std, o)
		},
	}
}

// unpackArchive works in a directory beside its target, so that an archive that
// is refused leaves nothing.
func unpackArchive(ctx context.Context, std stdio, o unpackOptions) (err error) {
	in, _, err := openArchive(ctx, std.in, o.archive)
	if err != nil {
		return fault.WrapHint(fault.Misuse, fmt.Errorf("unpack: %w", err), fault.HintOf(err))
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	switch entries, err := os.ReadDir(o.directory); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fault.WrapHint(fault.Misuse, fmt.Errorf("unpack: %w", err), "name a directory that does not exist yet")
	case len(entries) > 0:
		return misuse(fmt.Sprintf("unpack: %s is not empty", o.directory), "name a directory that does not exist yet")
	}
	if o.config != "" {
		if err := checkConfigFile(o.config, o.directory, in); err != nil {
			return fault.WrapHint(fault.Misuse, fmt.Errorf("unpack: --config: %w", err), "name a new file in a directory that exists, outside of the one to unpack into")
		}
	}
	parent := filepath.Dir(o.directory)
	// A pipe cannot be read twice; what does not fit is found member by member.
	if f, ok := in.(*os.File); ok {
		archive := struct {
			io.Reader
			io.Seeker
			io.ReaderAt
		}{boundMemory(f), f, f}
		if err := unpack.CheckSpace(ctx, archive, parent, unpack.Options{}); err != nil {
			return fmt.Errorf("unpack %s: %w", o.archive, err)
		}
	}
	work, err := scratch.New(parent)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	tmp := filepath.Join(work.Path, "root")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	// The archive's "./" finds this directory existing, so its owner is set
	// here, as PVE's mkfs does: root of the guest.
	uid, gid := o.idmap.Root()
	if err := os.Chown(tmp, uid, gid); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	res, err := unpack.Unpack(ctx, boundMemory(in), tmp, unpack.Options{IDMap: o.idmap})
	if err == nil && o.config != "" {
		err = writeConfig(o.config, res.Config)
	}
	if err == nil {
		err = ignoreMissing(os.Remove(o.directory))
	}
	if err == nil {
		err = os.Rename(tmp, o.directory)
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", o.archive, err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
