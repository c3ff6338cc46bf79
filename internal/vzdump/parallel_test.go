package vzdump_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// full is a disk that takes some bytes.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, syscall.ENOSPC
	}
	f.left -= len(p)
	return len(p), nil
}

func TestFullDiskIsReportedBySettingsAlike(t *testing.T) {
	for _, setting := range []vzdump.Setting{vzdump.Fast, vzdump.Release} {
		for _, left := range []int{0, 256 << 10} {
			t.Run(setting.String(), func(t *testing.T) {
				frame, err := vzdump.NewFrame(&full{left: left}, setting, day, vzdump.NewMembers())
				must(t, err)
				root, f := entry(".", vzdump.Dir), entry("f", vzdump.File)
				f.Size = 1 << 20
				if setting == vzdump.Fast {
					f.Size = 17 << 20 // over a cut
				}
				err = errors.Join(frame.AddConfig([]byte(strings.Repeat("#\n", 10))), frame.Add(&root, nil), frame.Add(&f, newText()))
				if err := errors.Join(err, frame.Finish()); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("error %v, want ENOSPC", err)
				}
			})
		}
	}
}
