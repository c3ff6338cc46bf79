package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// formatVersion is part of every cache key: raise it when this package or
// internal/vzdump writes other bytes for the same tree.
const formatVersion = 3

// framesKept is how many frames stay in the cache. One is about 100 MB, and a
// base has one for each setting.
const framesKept = 8

// maxRecord bounds a record: a golden image of 10,000 members has one of 2 MB.
const maxRecord = 64 << 20

const (
	frameSuffix  = ".frame.zst"
	recordSuffix = ".json"
)

// record says what a cached frame holds. It is beside the frame and is
// written last, so that a frame with a record is complete.
type record struct {
	SHA256  string          `json:"sha256"` // of the frame
	Size    int64           `json:"size"`
	Content int64           `json:"content"` // bytes of file content
	Members []ManifestEntry `json:"members"`
	Parents []ManifestEntry `json:"parents"` // the overlay's directories, as they are in the root
	Dropped []string        `json:"dropped"`
}

// frameKey names the bytes of the base frame: everything that they depend on.
func (j *job) frameKey() (string, error) {
	type brought struct {
		Path string
		Dir  bool
	}
	key := struct {
		Version int
		Root    string
		Setting string
		Epoch   int64
		Rules   []Rule
		Overlay []brought
	}{Version: formatVersion, Root: j.out.CacheKey, Setting: j.out.Setting.String(), Epoch: j.epoch.Unix(), Rules: j.src.Profile.Rules}
	for p, kind := range j.overlay.kinds {
		key.Overlay = append(key.Overlay, brought{p, kind == vzdump.Dir})
	}
	slices.SortFunc(key.Overlay, func(a, b brought) int { return vzdump.ComparePaths(a.Path, b.Path) })
	data, err := json.Marshal(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// lookup opens the cached frame, or returns nil when there is none. One that
// is damaged counts as none: it is made again.
func (j *job) lookup(ctx context.Context) (_ *os.File, _ record, err error) {
	key, err := j.frameKey()
	if err != nil {
		return nil, record{}, err
	}
	data, err := regular.Read(j.cache.Path(key+recordSuffix), maxRecord)
	if isUnusable(err) {
		return nil, record{}, nil
	}
	if err != nil {
		return nil, record{}, fmt.Errorf("read cache: %w", err)
	}
	var rec record
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, record{}, nil
	}
	f, err := regular.Open(j.cache.Path(key + frameSuffix))
	if isUnusable(err) {
		return nil, record{}, nil
	}
	if err != nil {
		return nil, record{}, fmt.Errorf("read cache: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	h := sha256.New()
	n, err := io.Copy(h, &meter{ctx: ctx, r: f, job: &job{}})
	if err != nil {
		return nil, record{}, fmt.Errorf("read cache: %w", err)
	}
	if n != rec.Size || hex.EncodeToString(h.Sum(nil)) != rec.SHA256 {
		return nil, record{}, f.Close()
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, record{}, fmt.Errorf("read cache: %w", err)
	}
	j.cache.Used(key + recordSuffix)
	return f, rec, nil
}

// isUnusable reports whether a name of the cache means nothing that this program
// has written: the frame is made again, and replaces what the name means.
func isUnusable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, regular.ErrNotRegular) || errors.Is(err, regular.ErrTooLarge)
}

// walkAndKeep writes the base frame to w and into the cache.
func (j *job) walkAndKeep(ctx context.Context, w io.Writer, b *base) error {
	key, err := j.frameKey()
	if err != nil {
		return err
	}
	h := sha256.New()
	var rec record
	err = j.cache.WriteFile(key+frameSuffix, func(file io.Writer) (err error) {
		size := &counter{}
		rec.Members, err = j.walk(ctx, io.MultiWriter(w, file, h, size), b)
		rec.Size = size.n
		return err
	})
	if err != nil {
		return err
	}
	rec.SHA256, rec.Dropped = hex.EncodeToString(h.Sum(nil)), j.dropped
	for _, m := range rec.Members {
		rec.Content += m.Size
	}
	side := &job{epoch: j.epoch}
	for i := range b.parents {
		side.note(&b.parents[i], "")
	}
	rec.Parents = side.manifest
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	err = j.cache.WriteFile(key+recordSuffix, func(file io.Writer) error {
		_, err := file.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	// Whoever reads a frame that is removed keeps reading it; whoever comes
	// later makes it again.
	return j.cache.Trim(framesKept, func(name string) error { return os.Remove(j.cache.Path(name)) })
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// splice copies the cached frame.
func (j *job) splice(ctx context.Context, w io.Writer, b *base) error {
	for i := range b.record.Members {
		m := &b.record.Members[i]
		e, err := m.entry()
		if err == nil {
			err = j.members.Add(&e)
		}
		if err != nil {
			return fmt.Errorf("splice cached frame: %w", err)
		}
	}
	j.manifest = append(j.manifest, b.record.Members...)
	_, err := io.Copy(w, &meter{ctx: ctx, r: b.frame, job: &job{}})
	j.advance(b.record.Content)
	return err
}

func (r record) parents() []vzdump.Entry {
	list := make([]vzdump.Entry, 0, len(r.Parents))
	for i := range r.Parents {
		e, err := r.Parents[i].entry()
		if err != nil {
			continue // a directory is always of a known type
		}
		list = append(list, e)
	}
	return list
}

func (m *ManifestEntry) entry() (vzdump.Entry, error) {
	e := vzdump.Entry{Path: m.Path, Mode: m.Mode, UID: m.UID, GID: m.GID, Size: m.Size, Link: m.Link, ModTime: time.Unix(m.Time, 0)}
	for t := vzdump.File; t <= vzdump.Link; t++ {
		if t.String() == m.Type {
			e.Type = t
		}
	}
	if e.Type == 0 {
		return e, fmt.Errorf("member %q: no type %q", m.Path, m.Type)
	}
	for name, value := range m.Xattrs {
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[name] = string(value)
	}
	return e, nil
}
