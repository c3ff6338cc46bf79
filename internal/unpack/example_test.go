package unpack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/unpack"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func Example() {
	dir, err := os.MkdirTemp("", "unpack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var archive bytes.Buffer
	f, err := vzdump.NewFrame(&archive, vzdump.Fast, time.Unix(1700000000, 0), vzdump.NewMembers())
	if err != nil {
		fmt.Println(err)
		return
	}
	owner := vzdump.Entry{Path: "motd", Type: vzdump.File, Mode: 0o644, UID: os.Getuid(), GID: os.Getgid(), Size: 6}
	err = errors.Join(f.AddConfig([]byte("arch: amd64\n")), f.Add(&owner, strings.NewReader("hello\n")), f.Finish())
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := unpack.Unpack(context.Background(), &archive, dir, unpack.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, "motd"))
	fmt.Printf("%q %q %v\n", res.Config, text, err)
	// Output: "arch: amd64\n" "hello\n" <nil>
}
