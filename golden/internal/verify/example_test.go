package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/verify"
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
	if err := errors.Join(f.AddConfig([]byte("arch: amd64\n")), f.Add(&root, nil), f.Finish()); err != nil {
		fmt.Println(err)
		return
	}
	report, err := verify.Archive(context.Background(), &archive, "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst", verify.Options{
		Enable: []string{"archive-name", "zstd-frame", "scratch-folders"},
	})
	fmt.Println(len(report.Rules), report.Errors, err, report.Err())
	// Output: 3 0 <nil> <nil>
}
