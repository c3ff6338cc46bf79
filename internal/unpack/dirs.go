package unpack

import (
	"os"
	"strings"

	"github.com/felhom/felhom-golden/internal/fault"
)

// dirs has the directory of the last member open, with all that it is in: members
// come directory by directory, and each name is looked up in its own directory alone.
// No link is followed on the way.
type dirs struct{ open []openDir }

type openDir struct {
	path string // "." is the first
	root *os.Root
}

// close closes all but the first.
func (d *dirs) close() error { return d.shorten(1) }

func (d *dirs) shorten(n int) error {
	var first error
	for len(d.open) > n {
		if err := d.open[len(d.open)-1].root.Close(); first == nil {
			first = err
		}
		d.open = d.open[:len(d.open)-1]
	}
	return first
}

// at returns the directory at the clean path dir. It is open until the next call.
func (d *dirs) at(dir string) (*os.Root, error) {
	n := 1
	for n < len(d.open) && (d.open[n].path == dir || strings.HasPrefix(dir, d.open[n].path+"/")) {
		n++
	}
	if err := d.shorten(n); err != nil {
		return nil, err
	}
	for {
		last := d.open[len(d.open)-1]
		if last.path == dir {
			return last.root, nil
		}
		rest := dir
		if last.path != "." {
			rest = dir[len(last.path)+1:]
		}
		name, _, _ := strings.Cut(rest, "/")
		path := dir[:len(dir)-len(rest)+len(name)]
		info, err := last.root.Lstat(name)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fault.Errorf(fault.Invalid, "%q is not a directory", path)
		}
		root, err := last.root.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		d.open = append(d.open, openDir{path, root})
	}
}
