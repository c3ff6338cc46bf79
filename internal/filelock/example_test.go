package filelock_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/internal/filelock"
)

func ExampleClaim() {
	dir, err := os.MkdirTemp("", "locks")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	name := filepath.Join(dir, "8200.lock")
	unlock, err := filelock.Claim(name)
	fmt.Println("first:", err)
	_, err = filelock.Claim(name)
	fmt.Println("second is refused:", errors.Is(err, filelock.ErrHeld))
	fmt.Println("unlock:", unlock())
	// Output:
	// first: <nil>
	// second is refused: true
	// unlock: <nil>
}
