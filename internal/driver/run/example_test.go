package run_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

func Example() {
	ctx := context.Background()
	res, err := run.Run(ctx, run.Cmd{Path: "echo", Args: []string{"a b", "$HOME"}}) // no shell is asked
	fmt.Printf("%q %v\n", res.Stdout, err)

	_, err = run.Run(ctx, run.Cmd{Path: "sh", Args: []string{"-c", "echo no such guest >&2; exit 2"}})
	var failed *run.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.ExitCode, failed.Command)
	}
	// Output:
	// "a b $HOME\n" <nil>
	// 2 sh -c 'echo no such guest >&2; exit 2'
}
