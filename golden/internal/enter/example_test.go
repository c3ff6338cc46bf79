package enter_test

import (
	"context"
	"fmt"
	"os"

	"github.com/felhom/felhom-golden/golden/internal/enter"
)

// It needs root, and a root directory with a shell.
func ExampleRun() {
	show := func(ctx context.Context, root string) {
		code, err := enter.Run(ctx, enter.Options{Root: root, Argv: []string{"sh", "-c", "id -u"}, Stdout: os.Stdout})
		fmt.Println(code, err)
	}
	_ = show
}
