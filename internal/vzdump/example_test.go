package vzdump_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

func Example() {
	var archive bytes.Buffer
	f, err := vzdump.NewFrame(&archive, vzdump.Fast, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), vzdump.NewMembers())
	if err != nil {
		fmt.Println(err)
		return
	}
	err = f.AddConfig([]byte("arch: amd64\n"))
	err = errors.Join(err, f.Add(&vzdump.Entry{Path: ".", Type: vzdump.Dir, Mode: 0o755}, nil))
	err = errors.Join(err, f.Add(&vzdump.Entry{Path: "etc", Type: vzdump.Dir, Mode: 0o755}, nil))
	err = errors.Join(err, f.Add(&vzdump.Entry{Path: "etc/motd", Type: vzdump.File, Mode: 0o644, Size: 6}, strings.NewReader("hello\n")))
	if err := errors.Join(err, f.Finish()); err != nil {
		fmt.Println(err)
		return
	}
	r, err := vzdump.NewReader(&archive, vzdump.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Type, e.Path, e.Size)
	}
	// Output:
	// file etc/vzdump/pct.conf 12
	// file etc/vzdump/pct.fw 0
	// directory . 0
	// directory etc 0
	// file etc/motd 6
}

func ExampleParseName() {
	n, err := vzdump.ParseName("vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst")
	fmt.Println(n.VMID, n.Time.Format(time.DateTime), n.Ext, err)
	// Output: 9100 2026-01-02 03:04:05 zst <nil>
}
