package debroot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
)

// choicesKept is how many choices are remembered; maxChoice bounds one. A package takes 200 bytes or so.
const (
	choicesKept = 50
	maxChoice   = 8 << 20
)

// choiceSuffix ends the name of one; its content has a digest before it.
const choiceSuffix = ".choice"

// choice is what apt has chosen for a root. It depends on nothing but what [Request.Key] names, so that it is asked for once:
// apt takes as long for it as dpkg does for a small root.
type choice struct {
	Essential selection // installed at once, before anything else can be
	Rest      selection
}

func (f *filler) choices() (*cachedir.Dir, error) {
	return cachedir.Open(filepath.Join(f.req.Cache, "choices"))
}

// remembered returns what apt has chosen earlier for the same request. It is nil if apt has not, if the store lacks a package of it, or
// if apt would refuse it now.
func (f *filler) remembered(ctx context.Context) (_ *choice, err error) {
	if f.req.expired() {
		return nil, nil //nolint:nilnil // as if there was none
	}
	dir, err := f.choices()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	name := f.req.Key + choiceSuffix
	data, err := dir.ReadRecord(name, maxChoice)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, cachedir.ErrDamaged) {
		return nil, nil //nolint:nilnil // none is the usual case of a first build
	}
	if err != nil {
		return nil, fmt.Errorf("read what apt has chosen: %w", err)
	}
	c, ok := parseChoice(data)
	if !ok {
		return nil, nil //nolint:nilnil // damaged: apt is asked again
	}
	for _, s := range []selection{c.Essential, c.Rest} {
		if missing, err := f.store.missing(ctx, s.Packages); err != nil || len(missing) > 0 {
			return nil, err
		}
	}
	dir.Used(name)
	return &c, nil
}

// parseChoice reads what remember has written; ok is false if it is damaged.
func parseChoice(data []byte) (c choice, ok bool) {
	if json.Unmarshal(data, &c) != nil || !c.Essential.plain() || !c.Rest.plain() {
		return choice{}, false
	}
	return c, true
}

func (f *filler) remember(c choice) (err error) {
	dir, err := f.choices()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	data, err := json.Marshal(c)
	if err == nil {
		err = dir.WriteRecord(f.req.Key+choiceSuffix, data)
	}
	return errors.Join(err, dir.Trim(choicesKept, func(name string) error { return os.Remove(dir.Path(name)) }))
}
