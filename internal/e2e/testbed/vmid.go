package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// The guest ids that beds of this machine give out, one after the other. They
// are far from those that people use.
const (
	firstVMID = 700_000_000
	lastVMID  = 799_999_999
)

// vmidFile holds the next id. It is not a bed's own: liblxc names the cgroups
// of a guest by its id alone, whatever lxcpath it is below.
const vmidFile = "/run/felhom-testbed.vmid"

// VMIDs returns n consecutive guest ids that no other test of this machine has
// got since it was booted.
func VMIDs(t testing.TB, n int) []int {
	t.Helper()
	ids, err := takeVMIDs(vmidFile, n)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func takeVMIDs(file string, n int) (ids []int, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, filelock.Close(f)) }()
	if err := filelock.TakeWhenFree(context.Background(), f, filelock.Exclusive, nil); err != nil {
		return nil, err
	}
	next := firstVMID
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(data) > 0 {
		if err := json.Unmarshal(data, &next); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	if next < firstVMID || next+n-1 > lastVMID {
		next = firstVMID
	}
	for i := range n {
		ids = append(ids, next+i)
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	_, err = f.WriteAt(fmt.Appendln(nil, next+n), 0)
	return ids, err
}
