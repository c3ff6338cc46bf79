package main

import (
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"
)

func versionCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print version, Go version and platform",
		Action: func(c *cli.Context) error {
			if err := checkArgs(c); err != nil {
				return err
			}
			_, err := fmt.Fprintf(std.out, "%s %s %s %s/%s\n", program, version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
