package bootstrap

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// slowStore reports the progress of one pull, and ends it when it is told to.
type slowStore struct {
	imageStore
	progress []docker.Progress
	pulls    int
}

func (s *slowStore) Pull(ctx context.Context, _ string, _ docker.Credential, report func(docker.Progress)) error {
	s.pulls++
	for _, p := range s.progress {
		report(p)
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// The space is looked at before a pull, and again when the size is known. What is
// not known prevents nothing.
func TestSpaceBeforeAPull(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name     string
		free     []int64 // for each look, the last for all others; nil: not known
		progress []docker.Progress
		pulls    int
		rooms    int    // how often room was made
		want     string // of the error
	}{
		{"enough", []int64{500 * mib}, []docker.Progress{{Total: 400 * mib}, {Done: 100 * mib, Total: 400 * mib}}, 1, 0, ""},
		{"not known", nil, []docker.Progress{{Total: 1 << 50}}, 1, 0, ""},
		{"full", []int64{mib}, nil, 0, 1, "pull x: it needs 32.0 MiB or more, and the disk of this guest has 1.0 MiB left"},
		{"full, until the image before is removed", []int64{mib, 500 * mib}, []docker.Progress{{Total: mib}}, 1, 1, ""},
		{"too large", []int64{500 * mib}, []docker.Progress{{Total: 40 * mib}, {Done: mib, Total: 2000 * mib}}, 1, 0, "it needs 2.0 GiB or more, and the disk of this guest has 500.0 MiB left"},
		{"what is left fits", []int64{500 * mib}, []docker.Progress{{Done: 1600 * mib, Total: 2000 * mib}}, 1, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			looks, rooms := 0, 0
			store := &slowStore{progress: test.progress}
			s := spaced{
				imageStore: store,
				free: func() (int64, bool) {
					if test.free == nil {
						return 0, false
					}
					looks++
					return test.free[min(looks, len(test.free))-1], true
				},
				makeRoom: func(context.Context) error { rooms++; return nil },
			}
			err := s.Pull(t.Context(), "x", docker.Credential{}, func(docker.Progress) {})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if err != nil && (docker.KindOf(err) != docker.DiskFull || fault.HintOf(classed(err)) == "") {
				t.Errorf("%v is %q", err, docker.KindOf(err))
			}
			if store.pulls != test.pulls || rooms != test.rooms {
				t.Errorf("%d pulls, room was made %d times; want %d and %d", store.pulls, rooms, test.pulls, test.rooms)
			}
		})
	}
	broken := errors.New("the engine is away")
	s := spaced{&slowStore{}, func() (int64, bool) { return 0, true }, func(context.Context) error { return broken }}
	if err := s.Pull(t.Context(), "x", docker.Credential{}, nil); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of making room", err)
	}
	if _, isKnown := freeBelow(func() string { return t.TempDir() + "/missing" })(); isKnown {
		t.Error("a directory that does not exist has free space")
	}
	if free, isKnown := freeBelow(t.TempDir)(); !isKnown || free <= 0 {
		t.Errorf("free %d, %v", free, isKnown)
	}
}
