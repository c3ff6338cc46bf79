package overlay_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
)

func ExampleLay() {
	root, err := os.MkdirTemp("", "root")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(root) }()
	files := []overlay.File{{Path: "etc/motd", Mode: 0o644, UID: os.Getuid(), GID: os.Getgid(), Data: []byte("hello\n")}}
	if err := overlay.Lay(root, files, time.Unix(1700000000, 0)); err != nil {
		fmt.Println(err)
		return
	}
	text, err := os.ReadFile(filepath.Join(root, "etc/motd"))
	fmt.Printf("%q %v\n", text, err)
	// Output: "hello\n" <nil>
}
