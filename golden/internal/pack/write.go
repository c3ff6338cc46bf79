package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// job is one run of Pack.
type job struct {
	src      Source
	out      Output
	cache    *cachedir.Dir // nil without one
	key      string        // of the base frames in the cache
	epoch    time.Time
	progress Progress
	layer    *layer
	members  *vzdump.Members
	entries  int
	dropped  []string
	baseAt   int64 // offset of the base frames in the archive
	done     int64
	total    int64
}

// base is where the frames after the first come from: the cache, or a root to walk.
type base struct {
	cached  *os.File // an archive with the same base, or nil
	record  record   // what the cached archive holds
	root    *os.Root
	scan    *scanner
	sample  contents.Sample // what the table of contents needs of the base
	parents []vzdump.Entry  // the overlay's directories
}

func (b *base) close() error {
	var err error
	if b.cached != nil {
		err = b.cached.Close()
	}
	if b.root != nil {
		err = errors.Join(err, b.root.Close())
	}
	return err
}

// plan finds out what is to be written, before anything is.
func (j *job) plan(ctx context.Context, useCache bool) (*base, error) {
	var err error
	// The root's own directory and the table of contents are always in the first
	// frame.
	if j.layer, err = newLayer(j.src.Overlay); err != nil {
		return nil, err
	}
	j.total = int64(len(j.src.Config.Format()))
	for _, f := range j.src.Overlay {
		j.total += int64(len(f.Data))
	}
	b := &base{}
	if j.cache != nil {
		if j.key, err = j.frameKey(); err != nil {
			return nil, err
		}
	}
	if j.cache != nil && useCache {
		if b.cached, b.record, err = j.lookup(); err != nil {
			return nil, err
		}
	}
	if b.cached != nil {
		b.parents, b.sample = b.record.Parents, b.record.Sample
		j.dropped = b.record.Dropped
		j.total += b.record.Content
		return b, j.list(b)
	}
	if b.root, err = os.OpenRoot(j.src.Root); err != nil {
		return nil, fmt.Errorf("pack: open root: %w", err)
	}
	b.scan, err = scan(ctx, b.root, j.src.Root, j.src.Profile, j.layer.kinds)
	if err == nil {
		b.parents, err = j.layer.parents(b.scan)
	}
	if err == nil {
		b.sample, err = b.take(ctx)
	}
	if err == nil {
		err = j.list(b)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	j.dropped = b.scan.dropped
	j.total += b.scan.total
	return b, nil
}

// write writes all frames to w.
func (j *job) write(ctx context.Context, w *sink, b *base) error {
	front, err := vzdump.NewFrame(w, j.out.Setting, j.epoch, j.members)
	if err != nil {
		return err
	}
	if err := j.front(ctx, front, b.parents); err != nil {
		front.Abandon()
		return err
	}
	if err := front.Close(); err != nil {
		return err
	}
	j.baseAt = w.size
	if b.cached != nil {
		return j.splice(ctx, w, b)
	}
	return j.walk(ctx, w, b)
}

// front writes config and overlay.
func (j *job) front(ctx context.Context, f *vzdump.Frame, parents []vzdump.Entry) error {
	conf := j.src.Config.Format()
	if err := f.AddConfig(conf); err != nil {
		return err
	}
	j.advance(int64(len(conf)))
	j.entries += 2
	entries := j.frontEntries(parents)
	for i := range entries {
		e := entries[i]
		file, ok := j.layer.files[e.Path]
		if !ok {
			if err := j.add(ctx, f, &e, nil); err != nil {
				return err
			}
			continue
		}
		e, content, err := member(file)
		if err != nil {
			return err
		}
		e.ModTime = j.epoch
		if err := errors.Join(j.add(ctx, f, &e, content), content.Close()); err != nil {
			return err
		}
	}
	return nil
}

// frontEntries returns the members after the config members in the first frame, in order. Of
// the overlay's files they have the path only.
func (j *job) frontEntries(parents []vzdump.Entry) []vzdump.Entry {
	entries := slices.Clone(parents)
	for _, file := range j.layer.files {
		entries = append(entries, vzdump.Entry{Path: file.Path})
	}
	slices.SortFunc(entries, func(x, y vzdump.Entry) int { return vzdump.ComparePaths(x.Path, y.Path) })
	return entries
}

// walk writes the base frames from the root.
func (j *job) walk(ctx context.Context, w io.Writer, b *base) error {
	f, err := vzdump.NewFrame(w, j.out.Setting, j.epoch, j.members)
	if err != nil {
		return err
	}
	for i := range b.scan.members {
		if err := j.file(ctx, f, b.root, &b.scan.members[i]); err != nil {
			f.Abandon()
			return err
		}
	}
	return f.Finish()
}

// file writes one member of the root.
func (j *job) file(ctx context.Context, f *vzdump.Frame, root *os.Root, e *vzdump.Entry) error {
	if e.Type != vzdump.File || e.Size == 0 {
		return j.add(ctx, f, e, nil)
	}
	r, err := open(root, e.Path)
	if err != nil {
		return err
	}
	return errors.Join(j.add(ctx, f, e, r), r.Close())
}

// open opens a file of the root: not through a link that came since the walk, and not
// a pipe.
func open(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// add writes one member.
func (j *job) add(ctx context.Context, f *vzdump.Frame, e *vzdump.Entry, content io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if content != nil {
		content = &meter{ctx: ctx, r: content, job: j}
	}
	if err := f.Add(e, content); err != nil {
		return err
	}
	j.entries++
	return nil
}

// meter counts content for the progress and ends a long copy on cancel.
type meter struct {
	ctx context.Context //nolint:containedctx // io.Reader has no other way to be cancelled
	r   io.Reader
	job *job
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.job.advance(int64(n))
	return n, err
}

func (j *job) advance(n int64) {
	j.done += n
	if j.progress != nil && n > 0 {
		j.progress(j.done, max(j.total, j.done))
	}
}
