package watch_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/bootstrapper/internal/watch"
)

func Example() {
	dir, err := os.MkdirTemp("", "watch")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := watch.New(dir, "bootstrap.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	before := w.Look()
	if err := os.WriteFile(filepath.Join(dir, "bootstrap.json"), []byte("{}"), 0o600); err != nil {
		fmt.Println(err)
	}
	<-w.Changes()
	after := w.Look()
	fmt.Println(before.Present(), after.Present(), errors.Join(w.Close()))
	// Output: false true <nil>
}
