package vzdump_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"

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

// lateWriter counts what is written after its owner has closed it.
type lateWriter struct{ closed, late atomic.Int64 }

func (w *lateWriter) Write(p []byte) (int, error) {
	w.late.Add(w.closed.Load())
	return len(p), nil
}

func abandon(f *vzdump.Frame) error {
	f.Abandon()
	return errors.New("abandoned")
}

// After the end of a frame its writer belongs to the caller again, and no goroutine
// is left: also if a member's content broke off while chunks were being packed.
func TestABrokenFrameEnds(t *testing.T) {
	errGone := errors.New("the disk is gone")
	for name, end := range map[string]func(*vzdump.Frame) error{"Close": (*vzdump.Frame).Close, "Finish": (*vzdump.Frame).Finish, "Abandon": abandon} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &lateWriter{}
				frame, err := vzdump.NewFrame(w, vzdump.Fast, day, vzdump.NewMembers())
				must(t, err)
				must(t, frame.AddConfig([]byte("arch: amd64\n")))
				root, f := entry(".", vzdump.Dir), entry("f", vzdump.File)
				must(t, frame.Add(&root, nil))
				f.Size = 64 << 20
				broken := io.MultiReader(bytes.NewReader(make([]byte, 17<<20)), iotest.ErrReader(errGone)) // one chunk and a part
				if err := frame.Add(&f, broken); !errors.Is(err, errGone) {
					t.Fatalf("error %v, want %v", err, errGone)
				}
				if err := end(frame); err == nil {
					t.Error("a member without its content is not an error")
				}
				w.closed.Store(1)
				synctest.Wait()
				if n := w.late.Load(); n > 0 {
					t.Errorf("%d writes after the end", n)
				}
			})
		})
	}
}
