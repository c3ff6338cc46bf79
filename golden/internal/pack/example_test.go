package pack_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/pack"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func ExamplePack() {
	dir, err := os.MkdirTemp("", "pack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		fmt.Println(err)
		return
	}
	src := pack.Source{Root: root, Overlay: []overlay.File{{Path: "motd", Mode: 0o644, Data: []byte("hello\n")}}}
	if err := src.Config.Set("arch", "amd64"); err != nil {
		fmt.Println(err)
		return
	}
	res, err := pack.Pack(context.Background(), src, pack.Output{
		Path: filepath.Join(dir, "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst"), Epoch: time.Unix(1700000000, 0), Setting: vzdump.Fast,
	}, nil)
	fmt.Println(res.Entries, err) // pct.conf, pct.fw, the root, etc, etc/felhom, the table of contents and motd
	// Output: 7 <nil>
}
