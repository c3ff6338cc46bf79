package command_test

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/internal/command"
)

func Example() {
	app := command.App{
		Name: "felhom-example", Usage: "greet a guest", Version: "1.0", Stdout: os.Stdout, Stderr: os.Stdout,
		Commands: []*cli.Command{{
			Name: "greet", Usage: "say hello", ArgsUsage: "NAME",
			Flags: []cli.Flag{&cli.BoolFlag{Name: "loud", Usage: "shout"}},
			Action: func(c *cli.Context) error {
				fmt.Println("hello", c.Args().First(), c.Bool("loud"))
				return nil
			},
		}},
	}
	ctx := context.Background()
	fmt.Println(app.Run(ctx, []string{"felhom-example", "greet", "web", "--loud"})) // flags go anywhere
	fmt.Println(app.Run(ctx, []string{"felhom-example", "gret", "web"}))
	// Output:
	// hello web true
	// 0
	// felhom-example: unknown command "gret"
	// felhom-example: hint: did you mean "felhom-example greet"?
	// 2
}
