package atomicfile_test

import (
	"fmt"
	"os"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

func Example() {
	dir, err := os.MkdirTemp("", "files")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = root.Close() }()
	attr := atomicfile.Attr{Mode: 0o600}
	fmt.Println(atomicfile.Write(root, "settings", []byte("one\n"), attr))
	fmt.Println(atomicfile.WriteIfChanged(root, "settings", []byte("one\n"), attr))
	fmt.Println(atomicfile.WriteIfChanged(root, "settings", []byte("two\n"), attr))
	// Output:
	// <nil>
	// false <nil>
	// true <nil>
}
