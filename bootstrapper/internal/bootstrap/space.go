package bootstrap

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/progress"
)

// engineData is where the engine keeps images if it does not say, below the root
// directory.
const engineData = "/var/lib/docker"

// pullNeeds is the free space that a pull needs to be worth its start: an engine
// whose disk is full cannot keep the state of its containers either.
const pullNeeds = 32 << 20

// spaced is an imageStore that looks at the free space before a pull, and while
// the sizes of the layers become known. It ends a pull that cannot succeed
// before it has filled the disk.
type spaced struct {
	imageStore
	free     func() (bytes int64, isKnown bool)
	makeRoom func(ctx context.Context) error // removes what is not needed; its error is the pull's
}

// imageRooter is the part of the engine that knows where its images are.
type imageRooter interface {
	ImageRoots(ctx context.Context) ([]string, error)
}

// imageRoot returns the directory in which the engine keeps its images, below root:
// the first that exists of those that it may keep them in.
func imageRoot(ctx context.Context, engine imageRooter, root string) string {
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	dirs, err := engine.ImageRoots(ctx)
	if err != nil || len(dirs) == 0 {
		dirs = []string{engineData}
	}
	for _, dir := range dirs {
		if info, err := os.Stat(at(root, dir)); err == nil && info.IsDir() {
			return at(root, dir)
		}
	}
	return at(root, dirs[0])
}

// freeBelow returns a function that reports the free space of the directory dir.
func freeBelow(dir func() string) func() (int64, bool) {
	return func() (int64, bool) {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir(), &st); err != nil || st.Bsize <= 0 {
			return 0, false // the engine keeps its data where this guest has no such directory
		}
		return int64(min(st.Bavail, 1<<40)) * st.Bsize, true
	}
}

// Pull is imageStore's, with a *docker.FaultError of kind DiskFull if the image
// does not fit.
func (s spaced) Pull(ctx context.Context, ref string, credential docker.Credential, report func(docker.Progress)) error {
	free, isKnown := s.free()
	if isKnown && free < pullNeeds {
		if err := s.makeRoom(ctx); err != nil {
			return err
		}
		if free, isKnown = s.free(); isKnown && free < pullNeeds {
			return tooSmall(ref, pullNeeds, free)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var known int64
	return s.imageStore.Pull(ctx, ref, credential, func(p docker.Progress) {
		report(p)
		if p.Total <= known {
			return
		}
		known = p.Total
		// What is still to come is written at least once.
		if free, isKnown := s.free(); isKnown && p.Total-p.Done > free {
			cancel(tooSmall(ref, p.Total-p.Done, free))
		}
	})
}

func tooSmall(ref string, need, free int64) error {
	return &docker.FaultError{
		Op: "pull " + ref, Kind: docker.DiskFull,
		Err: fmt.Errorf("it needs %s or more, and the disk of this guest has %s left", progress.Bytes(need), progress.Bytes(free)),
	}
}
