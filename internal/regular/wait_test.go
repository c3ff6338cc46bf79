package regular

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// /proc/kmsg is regular by its mode, and a read of it waits for the next message
// of the kernel. A pipe waits in the same way, and no message is lost to a test.
func TestReadThatWaitsEnds(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("first"); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 100)
	// A read that begins after its time reads nothing, so only the one that waits has little.
	if n, err := (patient{r, time.Minute}).Read(text); string(text[:n]) != "first" || err != nil {
		t.Errorf("%q, %v, want the first text", text[:n], err)
	}
	data, err := io.ReadAll(patient{r, 10 * time.Millisecond})
	if len(data) > 0 || !errors.Is(err, ErrNotRegular) {
		t.Errorf("%q, %v, want ErrNotRegular", data, err)
	}
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
}

// The time is over before the first read, as on a machine that does much else in between.
func TestReadOnABusyMachine(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(patient{r, -time.Hour}); err != nil || string(data) != "text" {
		t.Errorf("%q, %v, want all", data, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFilesOfTheKernel(t *testing.T) {
	const file = "/proc/self/mountinfo" // its reads could wait, as far as can be seen
	if data, err := Read(file, 1<<20); err != nil || len(data) == 0 {
		t.Errorf("read: %d bytes, %v", len(data), err)
	}
	f, err := Open(file)
	if !errors.Is(err, ErrNotRegular) {
		t.Errorf("open: %v, want ErrNotRegular", err)
	}
	if err == nil {
		_ = f.Close()
	}
}
