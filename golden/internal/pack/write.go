package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// job is one run of Pack.
type job struct {
	src      Source
	out      Output
	cache    *cachedir.Dir // nil without one
	epoch    time.Time
	progress Progress
	overlay  *overlay
	members  *vzdump.Members
	manifest []ManifestEntry
	dropped  []string
	done     int64
	total    int64
}

// base is where the second frame comes from: the cache, or a root to walk.
type base struct {
	cached  bool
	frame   *os.File // cached frame, at its start
	record  record   // what the cached frame holds
	root    *os.Root
	scan    *scanner
	parents []vzdump.Entry // the overlay's directories
}

func (b *base) close() error {
	var err error
	if b.frame != nil {
		err = b.frame.Close()
	}
	if b.root != nil {
		err = errors.Join(err, b.root.Close())
	}
	return err
}

// plan finds out what is to be written, before anything is.
func (j *job) plan(ctx context.Context) (*base, error) {
	var err error
	// The root's own directory is always in the first frame, so that the order
	// of members is that of one tree even with an empty overlay.
	if j.overlay, err = newOverlay(j.src.Overlay); err != nil {
		return nil, err
	}
	j.total = int64(len(j.src.Config.Format()))
	for _, f := range j.src.Overlay {
		j.total += int64(len(f.Data))
	}
	b := &base{}
	if j.out.CacheDir != "" {
		if b.frame, b.record, err = j.lookup(ctx); err != nil {
			return nil, err
		}
	}
	if b.frame != nil {
		b.cached = true
		b.parents = b.record.parents()
		j.dropped = b.record.Dropped
		j.total += b.record.Content
		return b, nil
	}
	if b.root, err = os.OpenRoot(j.src.Root); err != nil {
		return nil, fmt.Errorf("pack: open root: %w", err)
	}
	b.scan, err = scan(ctx, b.root, j.src.Root, j.src.Profile, j.overlay.kinds)
	if err == nil {
		b.parents, err = j.overlay.parents(b.scan)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	j.dropped = b.scan.dropped
	j.total += b.scan.total
	return b, nil
}

// write writes both frames to w.
func (j *job) write(ctx context.Context, w io.Writer, b *base) error {
	front, err := vzdump.NewFrame(w, j.out.Setting, j.epoch, j.members)
	if err != nil {
		return err
	}
	if err := j.front(ctx, front, b.parents); err != nil {
		return errors.Join(err, front.Close()) // Close frees the encoder
	}
	if err := front.Close(); err != nil {
		return err
	}
	if b.cached {
		return j.splice(ctx, w, b)
	}
	if j.out.CacheDir == "" {
		_, err := j.walk(ctx, w, b)
		return err
	}
	return j.walkAndKeep(ctx, w, b)
}

// front writes config and overlay.
func (j *job) front(ctx context.Context, f *vzdump.Frame, parents []vzdump.Entry) error {
	conf := j.src.Config.Format()
	if err := f.AddConfig(conf); err != nil {
		return err
	}
	j.advance(int64(len(conf)))
	for _, m := range []struct {
		path string
		data []byte
	}{{vzdump.ConfigPath, conf}, {vzdump.FirewallPath, nil}} {
		sum := sha256.Sum256(m.data)
		e := vzdump.Entry{Path: m.path, Type: vzdump.File, Mode: 0o644, Size: int64(len(m.data)), ModTime: j.epoch}
		j.note(&e, hex.EncodeToString(sum[:]))
	}
	entries := slices.Clone(parents)
	for _, file := range j.overlay.files {
		entries = append(entries, vzdump.Entry{Path: file.Path})
	}
	slices.SortFunc(entries, func(x, y vzdump.Entry) int { return vzdump.ComparePaths(x.Path, y.Path) })
	for i := range entries {
		e := entries[i]
		file, ok := j.overlay.files[e.Path]
		if !ok {
			if err := j.member(ctx, f, &e, nil); err != nil {
				return err
			}
			continue
		}
		e, content, err := file.entry()
		if err != nil {
			return err
		}
		e.ModTime = j.epoch
		if err := errors.Join(j.member(ctx, f, &e, content), content.Close()); err != nil {
			return err
		}
	}
	return nil
}

// walk writes the base frame from the root and returns its manifest.
func (j *job) walk(ctx context.Context, w io.Writer, b *base) (_ []ManifestEntry, err error) {
	f, err := vzdump.NewFrame(w, j.out.Setting, j.epoch, j.members)
	if err != nil {
		return nil, err
	}
	from := len(j.manifest)
	for i := range b.scan.nodes {
		if err := j.node(ctx, f, b, &b.scan.nodes[i]); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return j.manifest[from:], f.Finish()
}

func (j *job) node(ctx context.Context, f *vzdump.Frame, b *base, n *node) error {
	if n.Type != vzdump.File {
		return j.member(ctx, f, &n.Entry, nil)
	}
	// Not through a link that came since the walk, and not into a pipe.
	r, err := b.root.OpenFile(n.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return errors.Join(j.member(ctx, f, &n.Entry, r), r.Close())
}

// member writes one member and notes it.
func (j *job) member(ctx context.Context, f *vzdump.Frame, e *vzdump.Entry, content io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sum := ""
	if e.Type == vzdump.File {
		if content == nil {
			content = strings.NewReader("")
		}
		h := sha256.New()
		if err := f.Add(e, io.TeeReader(&meter{ctx: ctx, r: content, job: j}, h)); err != nil {
			return err
		}
		sum = hex.EncodeToString(h.Sum(nil))
	} else if err := f.Add(e, nil); err != nil {
		return err
	}
	j.note(e, sum)
	return nil
}

func (j *job) note(e *vzdump.Entry, sum string) {
	m := ManifestEntry{
		Path: e.Path, Type: e.Type.String(), Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, SHA256: sum, Link: e.Link,
		Time: vzdump.ClampTime(e.ModTime, j.epoch).Unix(),
	}
	for name, value := range e.Xattrs {
		if m.Xattrs == nil {
			m.Xattrs = map[string][]byte{}
		}
		m.Xattrs[name] = []byte(value)
	}
	j.manifest = append(j.manifest, m)
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
