package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// How far Table looks for the table of contents: what comes before it in an archive that
// pack wrote is the configuration and the settings that a build lays into /etc.
const (
	mostMembers = 512
	mostSkipped = 8 << 20 // bytes of content
)

// ErrNoTable means that an archive has no table of contents that can be used:
// [Archive] makes the report.
var ErrNoTable = errors.New("no table of contents that can be used")

// Table makes the report of the table of contents near the front of an archive of
// size bytes, and of its configuration. It reads the headers of all zstd frames
// and the members up to the table, so it notices an archive that was cut short,
// and a table that lists more than the frames hold; what else is wrong after the
// table it does not notice. Any error but that of ctx is [ErrNoTable].
func Table(ctx context.Context, r io.ReaderAt, size int64, name string) (Report, error) {
	report := Report{Archive: path.Base(name), Source: FromTable, Packed: size}
	unpacked, ok := vzdump.MostUnpacked(r, size)
	if !ok {
		return Report{}, ErrNoTable
	}
	conf, data, err := front(vzdump.WithContext(ctx, io.NewSectionReader(r, 0, size)))
	if cause := context.Cause(ctx); cause != nil {
		return Report{}, fmt.Errorf("inspect %s: %w", report.Archive, cause)
	}
	if err != nil {
		return Report{}, ErrNoTable // Archive finds out what is wrong
	}
	table, err := contents.Parse(data)
	if err != nil || table.Least() > unpacked {
		return Report{}, ErrNoTable
	}
	report.fill(table)
	report.configure(pctconf.Parse(conf))
	return report, nil
}

// front returns the configuration, which must be the first member, and the table of
// contents.
func front(r io.Reader) (conf, table []byte, err error) {
	in, err := vzdump.NewReader(r, vzdump.Limits{})
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	skipped := int64(0)
	for range mostMembers {
		e, err := in.Next()
		if err != nil {
			return nil, nil, err
		}
		switch {
		case conf == nil && (e.Path != vzdump.ConfigPath || e.Size > vzdump.MaxConfig):
			return nil, nil, ErrNoTable
		case conf == nil:
			if conf, err = io.ReadAll(in); err != nil {
				return nil, nil, err
			}
		case e.Path == contents.Path && (e.Type != vzdump.File || e.Odd != 0 || e.Size > contents.MaxBytes):
			return nil, nil, ErrNoTable
		case e.Path == contents.Path:
			table, err := io.ReadAll(in)
			return conf, table, err
		}
		if skipped += e.Size; skipped > mostSkipped {
			break
		}
	}
	return nil, nil, ErrNoTable
}
