package regular_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/internal/regular"
)

func ExampleRead() {
	dir, err := os.MkdirTemp("", "regular")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	name := filepath.Join(dir, "recipe.yaml")
	if err := os.WriteFile(name, []byte("version: 1\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	data, err := regular.Read(name, 1<<10)
	fmt.Printf("%q %v\n", data, err)
	_, err = regular.Read(name, 4)
	fmt.Println("too large:", errors.Is(err, regular.ErrTooLarge))
	_, err = regular.Read(os.DevNull, 4)
	fmt.Println("a device:", errors.Is(err, regular.ErrNotRegular))
	// Output:
	// "version: 1\n" <nil>
	// too large: true
	// a device: true
}
