package pack

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// take samples the members of the root.
func (b *base) take(ctx context.Context) (s contents.Sample, err error) {
	for i := range b.scan.members {
		e := &b.scan.members[i]
		if err := ctx.Err(); err != nil {
			return s, err
		}
		err := s.Add(e, func() ([]byte, error) {
			f, err := open(b.root, e.Path)
			if err != nil {
				return nil, err
			}
			data, err := readAll(f, e)
			return data, errors.Join(err, f.Close())
		})
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// list fills in the table of contents, which is in the first frame and says what is in
// all of them. One that is too large is left out.
func (j *job) list(b *base) error {
	s, err := j.sampleFront(b.parents)
	if err != nil {
		return err
	}
	s.Append(b.sample)
	data, err := s.Contents().Encode()
	if errors.Is(err, contents.ErrTooLarge) {
		delete(j.layer.files, contents.Path)
		return nil
	}
	if err != nil {
		return err
	}
	f := j.layer.files[contents.Path]
	f.Data = data
	j.layer.files[contents.Path] = f
	j.total += int64(len(data))
	return nil
}

// sampleFront samples the members of the first frame.
func (j *job) sampleFront(parents []vzdump.Entry) (s contents.Sample, err error) {
	conf := j.src.Config.Format()
	err = errors.Join(
		s.Add(&vzdump.Entry{Path: vzdump.ConfigPath, Type: vzdump.File, Size: int64(len(conf))}, func() ([]byte, error) { return conf, nil }),
		s.Add(&vzdump.Entry{Path: vzdump.FirewallPath, Type: vzdump.File}, nil),
	)
	for _, e := range j.frontEntries(parents) {
		if err != nil {
			return s, err
		}
		file, ok := j.layer.files[e.Path]
		if !ok {
			err = s.Add(&e, nil)
			continue
		}
		e, content, openErr := member(file)
		if openErr != nil {
			return s, openErr
		}
		err = errors.Join(s.Add(&e, func() ([]byte, error) { return readAll(content, &e) }), content.Close())
	}
	return s, err
}

// readAll reads the content of e from r.
func readAll(r io.Reader, e *vzdump.Entry) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, e.Size+1))
	if err == nil && int64(len(data)) != e.Size {
		err = fmt.Errorf("read /%s: want %d bytes, got %d: it changed while it was read", e.Path, e.Size, len(data))
	}
	return data, err
}
