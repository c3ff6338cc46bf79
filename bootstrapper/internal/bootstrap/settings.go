package bootstrap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-golden/bootstrapper/internal/settings"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// maxTemplateBytes bounds a template or a container spec: they are written by hand.
const maxTemplateBytes = 256 << 10

// SettingsFile is the name of the controller's settings in their directory.
const SettingsFile = "controller.yaml"

// settingsStep writes controller.yaml if its content, mode or owner differs. It
// has two parts, because what a running controller reads must not change before
// everything that the new settings refer to exists.
type settingsStep struct {
	templates []string // paths in the order of preference; then the built-in one
	dir       string   // directory of controller.yaml, created if it is missing
	values    settings.Values
}

// rendered is settings that are valid and not written yet.
type rendered struct {
	dir  string
	from string // the template's name
	data []byte
}

// render returns the settings. It changes nothing.
func (s settingsStep) render() (rendered, error) {
	name, text := settings.BuiltInName, settings.BuiltIn()
	for _, path := range s.templates {
		data, err := readSmall(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return rendered{}, fault.WrapHint(fault.Invalid, fmt.Errorf("read template: %w", err), "make it a readable file, or remove it")
		}
		name, text = path, string(data)
		break
	}
	data, err := settings.Render(name, text, s.values)
	if err != nil {
		return rendered{}, fault.WrapHint(fault.Invalid, err, "correct the template; docs/controller-yaml.md lists its values and functions")
	}
	return rendered{dir: s.dir, from: name, data: data}, nil
}

// replaces reports whether writing would change a file that a controller may
// have read.
func (r rendered) replaces() bool {
	old, err := readSettings(filepath.Join(r.dir, SettingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return err != nil || !bytes.Equal(old, r.data) // unreadable: the error of writing it says why
}

func (r rendered) write() (_ outcome, err error) {
	if err := atomicfile.MakeDirectory(r.dir, 0o755); err != nil {
		return outcome{}, fmt.Errorf("make the settings directory: %w", err)
	}
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return outcome{}, fmt.Errorf("open the settings directory: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := sweep(root); err != nil {
		return outcome{}, fmt.Errorf("clear the settings directory: %w", err)
	}
	changed, err := atomicfile.WriteIfChanged(root, SettingsFile, r.data, atomicfile.Attr{
		Mode: 0o600, Chown: true, UID: os.Geteuid(), GID: os.Getegid(),
	})
	if err != nil {
		return outcome{}, err
	}
	if changed {
		return outcome{Outcome: Changed, Message: fmt.Sprintf("wrote %s from %s", filepath.Join(r.dir, SettingsFile), r.from)}, nil
	}
	return outcome{Outcome: Unchanged}, nil
}

// sweep removes what a killed write left: it holds the token. Because of the
// run's lock, no other write is in progress.
func sweep(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); e.Type().IsRegular() && strings.HasPrefix(name, "."+SettingsFile+".") && strings.HasSuffix(name, ".tmp") {
			err = errors.Join(err, root.Remove(name))
		}
	}
	return err
}

// readSettings reads controller.yaml, or a copy of it, which may be longer.
func readSettings(path string) ([]byte, error) { return regular.Read(path, 2*settings.MaxOutput) }

// readSmall reads a regular file of at most maxTemplateBytes.
func readSmall(path string) ([]byte, error) { return regular.Read(path, maxTemplateBytes) }
