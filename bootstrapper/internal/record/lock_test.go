package record

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestLockOutlastsALook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, nil, 0o644); err != nil { // as an older version made it
		t.Fatal(err)
	}
	look, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(look.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(patience/4, func() { _ = look.Close() })
	release, err := Lock(path)
	if err != nil {
		t.Fatalf("a short look failed the run: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600: others could hold up every run", info.Mode(), err)
	}
	if held, err := Held(path); err != nil || !held {
		t.Errorf("held %v, %v, want true", held, err)
	}
	_, err = Lock(path)
	if held, ok := errors.AsType[*HeldError](err); !ok || held.PID != strconv.Itoa(os.Getpid()) {
		t.Errorf("error %v, want a HeldError with our pid", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if held, err := Held(path); err != nil || held {
		t.Errorf("held %v, %v after the release, want false", held, err)
	}
}
