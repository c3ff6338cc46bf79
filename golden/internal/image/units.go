package image

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// The directories in which an administrator and packages put units.
const (
	AdminUnits  = "etc/systemd/system"
	VendorUnits = "usr/lib/systemd/system"
)

// UnitDirs are the directories of units in systemd's order: the first that has a
// unit decides (systemd.unit(5), "Unit File Load Path").
var UnitDirs = []string{AdminUnits, "usr/local/lib/systemd/system", VendorUnits, "lib/systemd/system"}

// presetDirs are those of presets, in the same order.
var presetDirs = []string{"etc/systemd/system-preset", "usr/local/lib/systemd/system-preset", "usr/lib/systemd/system-preset", "lib/systemd/system-preset"}

var unitKinds = []string{".service", ".socket", ".target", ".timer", ".mount", ".path", ".slice", ".automount", ".swap"}

// IsUnit reports whether name is a unit's.
func IsUnit(name string) bool { return slices.Contains(unitKinds, path.Ext(name)) }

// IsInstallDir reports whether the links in dir enable units.
func IsInstallDir(dir string) bool {
	return slices.Contains([]string{".wants", ".requires", ".upholds"}, path.Ext(dir))
}

// isUnitFile reports whether the file at name is a unit, a drop-in or a preset.
func isUnitFile(name string) bool {
	switch ext := path.Ext(name); {
	case ext == ".preset":
		return slices.ContainsFunc(presetDirs, func(dir string) bool { return IsBelow(dir, name) })
	case ext == ".conf" || IsUnit(name):
		return slices.ContainsFunc(UnitDirs, func(dir string) bool { return IsBelow(dir, name) })
	}
	return false
}

// Units is systemd's view of an image: unit files by search path, what is
// enabled and what is masked.
type Units struct {
	image   *Image
	enabled map[string][]string // unit to the links that enable it
	dropIns map[string][]*Entry // unit to its drop-ins, in the order of UnitDirs
	loaded  int                 // bytes that Load has read
}

// maxLoaded bounds what Load reads of one image. Units of a Debian system have a
// tenth; but many names can lead to one large file, and each is read on its own.
const maxLoaded = 16 << 20

// Units returns systemd's view of the image.
func (img *Image) Units() *Units { return img.units }

func newUnits(img *Image) *Units {
	u := &Units{image: img, enabled: map[string][]string{}, dropIns: map[string][]*Entry{}}
	for _, e := range img.Entries {
		name, dir := path.Base(e.Path), path.Dir(e.Path)
		switch {
		case e.Type != vzdump.Symlink || !IsBelow(AdminUnits, e.Path) || e.Link == "/dev/null" || !IsUnit(name):
		case dir == AdminUnits: // an alias enables what it leads to
			if other := path.Base(e.Link); other != name && path.Ext(other) == path.Ext(name) {
				u.enabled[other] = append(u.enabled[other], e.Path)
			}
		case path.Dir(dir) == AdminUnits && IsInstallDir(dir):
			u.enabled[name] = append(u.enabled[name], e.Path)
		}
	}
	for _, root := range UnitDirs {
		for _, e := range img.Entries {
			if dir := path.Dir(e.Path); path.Ext(e.Path) == ".conf" && path.Ext(dir) == ".d" && path.Dir(dir) == root {
				unit := strings.TrimSuffix(path.Base(dir), ".d")
				u.dropIns[unit] = append(u.dropIns[unit], e)
			}
		}
	}
	return u
}

// EnabledBy returns the links that enable a unit.
func (u *Units) EnabledBy(name string) []string { return u.enabled[name] }

// Enabled returns the enabled units by name, sorted.
func (u *Units) Enabled() []string { return sortedKeys(u.enabled) }

// Find returns the file of a unit, following aliases; an instance has its
// template's. It is nil if no such unit exists. A masked unit has a link to
// /dev/null or an empty file in its place.
func (u *Units) Find(name string) (e *Entry, masked bool) {
	names := []string{name}
	if prefix, _, ok := strings.Cut(name, "@"); ok {
		names = append(names, prefix+"@"+path.Ext(name))
	}
	for _, n := range names {
		for _, dir := range UnitDirs {
			first := u.image.ByPath[path.Join(dir, n)]
			if first == nil {
				continue
			}
			e, at := u.image.Lookup(first.Path)
			if at == "dev/null" || e != nil && e.Type == vzdump.File && e.Size == 0 {
				return nil, true
			}
			return e, false
		}
	}
	return nil, false
}

// State is a unit and its state, in the words of "systemctl is-enabled":
// enabled, disabled, static (nothing to enable), masked, alias.
type State struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// States returns the state of each unit in the unit directories, by name.
func (u *Units) States() []State {
	states := map[string]string{}
	for _, dir := range UnitDirs {
		for _, e := range u.image.Entries {
			name := path.Base(e.Path)
			if _, known := states[name]; known || path.Dir(e.Path) != dir || !IsUnit(name) || e != u.image.ByPath[e.Path] {
				continue
			}
			if state := u.stateOf(name, e); state != "" {
				states[name] = state
			}
		}
	}
	for name := range u.enabled {
		if states[name] != "masked" {
			states[name] = "enabled"
		}
	}
	list := make([]State, 0, len(states))
	for _, name := range sortedKeys(states) {
		list = append(list, State{name, states[name]})
	}
	return list
}

// stateOf returns the state that a file or link in a unit directory gives, if
// nothing else enables the unit.
func (u *Units) stateOf(name string, e *Entry) string {
	switch {
	case e.Type == vzdump.Symlink && e.Link == "/dev/null", e.Type == vzdump.File && e.Size == 0:
		return "masked"
	case e.Type == vzdump.Symlink && path.Base(e.Link) == name:
		return "enabled" // the file is elsewhere: a linked unit
	case e.Type == vzdump.Symlink:
		return "alias"
	case e.Type != vzdump.File && e.Type != vzdump.Link:
		return ""
	}
	// A second name of a file that is not a unit's would make the state depend on what
	// else was kept.
	if _, at := u.image.Lookup(e.Path); isUnitFile(at) && ParseUnit(string(u.image.Content[at])).sections["Install"] {
		return "disabled"
	}
	return "static"
}

func (img *Image) contentOf(e *Entry) string {
	text, _ := img.Text(e.Path)
	return text
}

// Load reads a unit and its drop-ins. A unit that does not exist has no settings.
// It is not safe for concurrent use.
func (u *Units) Load(name string) UnitFile {
	f := UnitFile{values: map[setting][]string{}, sections: map[string]bool{}}
	files := u.dropIns[name]
	if e, _ := u.Find(name); e != nil {
		files = slices.Concat([]*Entry{e}, files)
	}
	for _, e := range files {
		text := u.image.contentOf(e)
		if u.loaded += len(text); u.loaded > maxLoaded {
			f.Err = u.Err()
			break
		}
		f.Add(text)
	}
	return f
}

// Err returns an error of kind [fault.Invalid] if [Units.Load] has left out a unit because there
// are too many, or nil.
func (u *Units) Err() error {
	if u.loaded <= maxLoaded {
		return nil
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("read units: by all their names they exceed the limit of %d bytes", maxLoaded),
		"a Debian system has a tenth of that: look for large unit files to which many names lead")
}

// UnitFile is the settings of a unit.
type UnitFile struct {
	// Err is why a part of the unit could not be read, or nil. systemd may read
	// more of it.
	Err error

	values   map[setting][]string
	sections map[string]bool
}

type setting struct{ section, key string }

// ParseUnit reads the text of one unit file.
func ParseUnit(text string) UnitFile {
	f := UnitFile{values: map[setting][]string{}, sections: map[string]bool{}}
	f.Add(text)
	return f
}

// The library refuses lines of more than 2048 bytes, systemd those of 1 MiB. It gets a long
// one in pieces, continued after a byte that no unit has.
const (
	maxLine = 1024
	lineCut = "\x00\\\n"
)

// Add reads the text of a drop-in: in the order in which they apply.
func (f *UnitFile) Add(text string) {
	// systemd leaves out comments also between the parts of a continued line; the
	// library would take them for a part of it, or continue the comment.
	var plain strings.Builder
	for line := range strings.Lines(text) {
		if start := strings.TrimLeft(line, " \t"); strings.HasPrefix(start, "#") || strings.HasPrefix(start, ";") {
			continue
		}
		for len(line) > maxLine {
			plain.WriteString(line[:maxLine] + lineCut)
			line = line[maxLine:]
		}
		plain.WriteString(line)
	}
	sections, err := unit.DeserializeSections(strings.NewReader(plain.String()))
	if err != nil && f.Err == nil {
		f.Err = err
	}
	for _, s := range sections {
		f.sections[s.Section] = true
		for _, e := range s.Entries {
			at := setting{s.Section, e.Name}
			value := strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(e.Value, lineCut, ""), "\\\n", " "))
			if value == "" {
				delete(f.values, at) // an empty value resets the list
				continue
			}
			f.values[at] = append(f.values[at], value)
		}
	}
}

// All returns the values of some keys of a section, in their order.
func (f UnitFile) All(section string, keys ...string) []string {
	var values []string
	for _, key := range keys {
		values = append(values, f.values[setting{section, key}]...)
	}
	return values
}

// List returns the words of some keys: unit names, mostly.
func (f UnitFile) List(section string, keys ...string) []string {
	return strings.Fields(strings.Join(f.All(section, keys...), " "))
}

// Keys returns the keys of a section that have a value, sorted.
func (f UnitFile) Keys(section string) []string {
	var keys []string
	for at := range f.values {
		if at.section == section {
			keys = append(keys, at.key)
		}
	}
	slices.Sort(keys)
	return keys
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
