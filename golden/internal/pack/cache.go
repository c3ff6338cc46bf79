package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/sums"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// formatVersion is part of every cache key: raise it when this package or
// internal/vzdump writes other bytes for the same tree.
const formatVersion = 5

// framesKept is how many archives stay in the cache. One is about 100 MB, and a
// base has one for each setting.
const framesKept = 8

// maxRecord bounds a record. That of a golden image has half a megabyte, most of it
// units and the state of dpkg.
const maxRecord = 32 << 20

const (
	frameSuffix  = ".tar.zst"
	recordSuffix = ".record"
)

// record says what a cached archive holds. It is beside the archive and is
// written last, so that an archive with a record is complete.
type record struct {
	SHA256  []byte // of the archive
	Size    int64  // of the archive
	Base    int64  // where its base frames begin
	Content int64  // bytes of file content in them
	Members int    // in them
	Sample  contents.Sample
	Parents []vzdump.Entry // the overlay's directories, as they are in the root
	Dropped []string
}

// errDamaged is a cached archive that does not match its record.
var errDamaged = errors.New("the cached archive does not match its record")

// frameKey names the bytes of the base frames: everything that they depend on.
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
	for p, kind := range j.layer.kinds {
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

// lookup opens the cached archive with the same base, or returns nil when there
// is none. Whether it is damaged shows when it is copied.
func (j *job) lookup() (*os.File, record, error) {
	data, err := j.cache.ReadRecord(j.key+recordSuffix, maxRecord)
	if isUnusable(err) {
		return nil, record{}, nil
	}
	if err != nil {
		return nil, record{}, fmt.Errorf("read cache: %w", err)
	}
	var rec record
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&rec); err != nil {
		return nil, record{}, nil //nolint:nilerr // a damaged record counts as none
	}
	f, err := regular.Open(j.cache.Path(j.key + frameSuffix))
	if isUnusable(err) {
		return nil, record{}, nil
	}
	if err != nil {
		return nil, record{}, fmt.Errorf("read cache: %w", err)
	}
	j.cache.Used(j.key + recordSuffix)
	return f, rec, nil
}

// isUnusable reports whether a name of the cache means nothing that this program
// has written, or what is damaged: the frames are made again, and replace what the name means.
func isUnusable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, regular.ErrNotRegular) || errors.Is(err, regular.ErrTooLarge) || errors.Is(err, cachedir.ErrDamaged)
}

// keep puts the archive at path, which is complete and is not changed again, into
// the cache.
func (j *job) keep(path string, res Result, b *base) error {
	sum, err := hex.DecodeString(res.SHA256)
	if err != nil {
		return err
	}
	if err := j.cache.Share(j.key+frameSuffix, path); err != nil {
		return err
	}
	rec := record{SHA256: sum, Size: res.Size, Base: j.baseAt, Content: b.scan.total, Members: len(b.scan.members), Sample: b.sample, Parents: b.parents, Dropped: j.dropped}
	var data bytes.Buffer
	if err := gob.NewEncoder(&data).Encode(rec); err != nil {
		return err
	}
	if err := j.cache.WriteRecord(j.key+recordSuffix, data.Bytes()); err != nil {
		return err
	}
	// A build that reads an archive while it is removed reads it to its end; a later
	// one makes it again.
	return j.cache.Trim(framesKept, func(name string) error { return os.Remove(j.cache.Path(name)) })
}

// splice copies the base frames of the cached archive to w. It reads the archive
// once, to its end: what was copied counts only if it returns nil. [errDamaged]
// means that the frames must be made again.
func (j *job) splice(ctx context.Context, w io.Writer, b *base) error {
	n, sum, err := copyTail(w, vzdump.WithContext(ctx, io.LimitReader(b.cached, b.record.Size+1)), b.record.Base)
	if err != nil {
		return err
	}
	if n != b.record.Size || !bytes.Equal(sum, b.record.SHA256) {
		return errDamaged
	}
	j.entries += b.record.Members
	j.advance(b.record.Content)
	return nil
}

// copyTail copies all but the first skip bytes of src to w. It returns the length
// and the digest of the whole of src.
func copyTail(w io.Writer, src io.Reader, skip int64) (n int64, sum []byte, err error) {
	s := sums.New(sha256.New())
	defer func() {
		s.End(func(b []byte) { sum = bytes.Clone(b) })
		s.Close()
	}()
	front, err := io.CopyN(s, src, skip)
	if errors.Is(err, io.EOF) {
		return front, nil, nil
	}
	if err != nil {
		return front, nil, fmt.Errorf("read cache: %w", err)
	}
	n, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(w, s)}, struct{ io.Reader }{src}, make([]byte, 1<<20))
	if err != nil {
		return front + n, nil, fmt.Errorf("copy cached frames: %w", err)
	}
	return front + n, nil, nil
}
