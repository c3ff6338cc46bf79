package cachedir

import (
	"crypto/sha256"
	"errors"
	"io"

	"github.com/felhom/felhom-golden/internal/regular"
)

// ErrDamaged means that a record is not as [Dir.WriteRecord] has written it. It counts as none.
var ErrDamaged = errors.New("the record in the cache is damaged")

// WriteRecord is [Dir.WriteFile] for a record that is used without another check of what it
// says: its digest comes before it.
func (d *Dir) WriteRecord(name string, record []byte) error {
	sum := sha256.Sum256(record)
	return d.WriteFile(name, func(w io.Writer) error {
		_, err := w.Write(append(sum[:], record...))
		return err
	})
}

// ReadRecord returns a record of at most limit bytes that [Dir.WriteRecord] has written. Its
// errors are those of [regular.Read], and [ErrDamaged].
func (d *Dir) ReadRecord(name string, limit int64) ([]byte, error) {
	data, err := regular.Read(d.Path(name), limit+sha256.Size)
	if err != nil {
		return nil, err
	}
	if len(data) < sha256.Size || sha256.Sum256(data[sha256.Size:]) != [sha256.Size]byte(data[:sha256.Size]) {
		return nil, ErrDamaged
	}
	return data[sha256.Size:], nil
}
