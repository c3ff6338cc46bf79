package record_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
)

func Example() {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "result.json")
	if err := record.Write(path, record.Result{Version: 1, Run: "r1", Result: "changed"}); err != nil {
		fmt.Println(err)
		return
	}
	last, err := record.Read(path)
	fmt.Println(last.Run, last.Result, err)
	// Output: r1 changed <nil>
}
