package seal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/golden/internal/seal"
)

func ExampleApply() {
	root, err := os.MkdirTemp("", "root")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(root) }()
	for _, name := range []string{"etc", "usr", "var"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			fmt.Println(err)
			return
		}
	}
	id := filepath.Join(root, "etc/machine-id")
	if err := os.WriteFile(id, []byte("0123\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	_, err = seal.Apply(context.Background(), root, seal.Options{Enable: []string{"machine-id"}})
	text, readErr := os.ReadFile(id)
	fmt.Printf("%q %v\n", text, errors.Join(err, readErr))
	// Output: "" <nil>
}
