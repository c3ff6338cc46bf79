package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
)

// unitDir is where an administrator's units and all enablement links are.
const unitDir = "etc/systemd/system"

// presetPath is our preset file. It sorts after PVE's 00-pve.preset, which
// knows its own gettys, and before Debian's 90-systemd.preset, which would
// enable some 20 units at first boot and cost 120 s of waiting for networkd.
const presetPath = "etc/systemd/system-preset/10-felhom-golden.preset"

// disable removes the enablement links of units, as "systemctl disable" does.
func disable(r *os.Root, units []string) error {
	links, err := unitLinks(r.FS())
	if err != nil {
		return err
	}
	for _, l := range links {
		if slices.Contains(units, l.unit) {
			if err := r.Remove(l.path); err != nil {
				return err
			}
		}
	}
	return nil
}

// unitLink is one link below unitDir that makes a unit start or gives it another name.
type unitLink struct {
	path string
	unit string // for a template the instance: getty@tty1.service
}

// unitLinks lists enablement and alias links, not masks.
func unitLinks(fsys fs.FS) ([]unitLink, error) {
	var list []unitLink
	err := fs.WalkDir(fsys, unitDir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == unitDir {
			return nil
		}
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		target, err := fs.ReadLink(fsys, name)
		if err != nil {
			return err
		}
		dir := path.Base(path.Dir(name))
		switch ext := path.Ext(dir); {
		case target == "/dev/null": // a mask
		case ext == ".wants" || ext == ".requires" || ext == ".upholds":
			list = append(list, unitLink{name, path.Base(name)})
		case path.Dir(name) == unitDir && path.Base(target) != path.Base(name): // an alias
			list = append(list, unitLink{name, path.Base(target)})
		}
		return nil
	})
	return list, err
}

// Preset is the closed preset file for a root whose enablement links are those
// of fsys and of files: exactly what is enabled stays enabled at first boot.
func Preset(fsys fs.FS, files []overlay.File) (overlay.File, error) {
	links, err := unitLinks(fsys)
	if err != nil {
		return overlay.File{}, fmt.Errorf("list enabled units: %w", err)
	}
	units := []string{}
	masked := []string{}
	for _, l := range links {
		units = append(units, l.unit)
	}
	for _, f := range files {
		switch ext := path.Ext(path.Dir(f.Path)); {
		case f.Mode&fs.ModeSymlink == 0 || !strings.HasPrefix(f.Path, unitDir+"/"):
		case f.Link == "/dev/null":
			masked = append(masked, path.Base(f.Path))
		case ext == ".wants" || ext == ".requires" || ext == ".upholds":
			units = append(units, path.Base(f.Path))
		}
	}
	units = slices.DeleteFunc(units, func(u string) bool { return slices.Contains(masked, u) })
	slices.Sort(units)
	var b bytes.Buffer
	b.WriteString("# Exactly the units that this image enables. A first boot applies presets, and\n# Debian's own would enable services that wait for networks that are not there.\n")
	for _, u := range slices.Compact(units) {
		// systemd.preset(5): a template is enabled with its instances after it.
		if name, rest, ok := strings.Cut(u, "@"); ok && !strings.HasPrefix(rest, ".") {
			ext := path.Ext(rest)
			fmt.Fprintf(&b, "enable %s@%s %s\n", name, ext, strings.TrimSuffix(rest, ext))
			continue
		}
		fmt.Fprintf(&b, "enable %s\n", u)
	}
	b.WriteString("disable *\n")
	return overlay.File{Path: presetPath, Mode: 0o644, Data: b.Bytes()}, nil
}

// enableLinks gives the links that "systemctl enable" would make for a unit
// file in dir, from its [Install] section.
func enableLinks(dir, name string, text []byte) []overlay.File {
	var list []overlay.File
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, ok := strings.Cut(line, "=")
		if section != "[Install]" || !ok || strings.HasPrefix(line, "#") {
			continue
		}
		suffix := map[string]string{"WantedBy": ".wants", "RequiredBy": ".requires", "UpheldBy": ".upholds"}[strings.TrimSpace(key)]
		if suffix == "" {
			continue
		}
		for by := range strings.FieldsSeq(value) {
			if !isUnitName(by) {
				continue // systemd does the same; a name with slashes would be a link anywhere
			}
			list = append(list, overlay.File{
				Path: path.Join(unitDir, by+suffix, name), Mode: fs.ModeSymlink | 0o777, Link: "/" + path.Join(dir, name),
			})
		}
	}
	return list
}

// isUnitName reports whether a word has only what names of units have.
func isUnitName(word string) bool {
	return word != "." && word != ".." && !strings.ContainsFunc(word, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(`:-_.\@%`, r)
	})
}
