package inspect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/inspect"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func ExampleArchive() {
	var archive bytes.Buffer
	f, err := vzdump.NewFrame(&archive, vzdump.Fast, time.Unix(1700000000, 0), vzdump.NewMembers())
	if err != nil {
		fmt.Println(err)
		return
	}
	root := vzdump.Entry{Path: ".", Type: vzdump.Dir, Mode: 0o755}
	if err := errors.Join(f.AddConfig([]byte("arch: amd64\nhostname: golden\n")), f.Add(&root, nil), f.Finish()); err != nil {
		fmt.Println(err)
		return
	}
	report, err := inspect.Archive(context.Background(), &archive, "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst", inspect.Options{})
	fmt.Println(report.Config["hostname"], report.Entries, err)
	// Output: golden map[directory:1 file:2] <nil>
}
