package verify

import (
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// units is systemd's view of the archive: unit files by search path, what is
// enabled, what is masked (systemd.unit(5), "Unit File Load Path").
type units struct {
	*image
	enabled map[string][]string // unit name to the links that enable it
}

const (
	adminUnits  = "etc/systemd/system"
	vendorUnits = "usr/lib/systemd/system"
)

func unitDirs() []string {
	return []string{adminUnits, "usr/local/lib/systemd/system", vendorUnits, "lib/systemd/system"}
}

func isUnit(name string) bool {
	return slices.Contains([]string{".service", ".socket", ".target", ".timer", ".mount", ".path", ".slice", ".automount", ".swap"}, path.Ext(name))
}

func (img *image) units() *units {
	u := &units{image: img, enabled: map[string][]string{}}
	for _, e := range img.entries {
		if e.typ != vzdump.Symlink || !inFolder(adminUnits, e.path) || e.link == "/dev/null" || !isUnit(path.Base(e.path)) {
			continue
		}
		name := path.Base(e.path)
		switch dir := path.Dir(e.path); {
		case dir == adminUnits: // an alias enables what it leads to
			if path.Base(e.link) != name && path.Ext(e.link) == path.Ext(name) {
				u.enabled[path.Base(e.link)] = append(u.enabled[path.Base(e.link)], e.path)
			}
		case path.Dir(dir) == adminUnits && isInstallFolder(dir):
			u.enabled[name] = append(u.enabled[name], e.path)
		}
	}
	return u
}

func isInstallFolder(dir string) bool {
	return slices.Contains([]string{".wants", ".requires", ".upholds"}, path.Ext(dir))
}

func (u *units) enabledNames() []string {
	var names []string
	for name := range u.enabled {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// find gives the file of a unit, following aliases; an instance has its
// template's. nil means that there is none. masked units have a link to
// /dev/null or an empty file in their place.
func (u *units) find(name string) (e *entry, masked bool) {
	names := []string{name}
	if prefix, _, ok := strings.Cut(name, "@"); ok {
		names = append(names, prefix+"@"+path.Ext(name))
	}
	for _, n := range names {
		for _, dir := range unitDirs() {
			first := u.byPath[path.Join(dir, n)]
			if first == nil {
				continue
			}
			e, at := u.lookup(first.path)
			if at == "dev/null" || e != nil && e.typ == vzdump.File && e.size == 0 {
				return nil, true
			}
			return e, false
		}
	}
	return nil, false
}

// unitFile is the settings of a unit: section and key to values, in order.
type unitFile map[[2]string][]string

// load reads a unit and its drop-ins.
func (u *units) load(name string) unitFile {
	f := unitFile{}
	if e, _ := u.find(name); e != nil {
		f.read(string(u.content[e.path]))
	}
	for _, dir := range unitDirs() {
		for _, e := range u.below(path.Join(dir, name+".d")) {
			if path.Ext(e.path) == ".conf" {
				f.read(string(u.content[e.path]))
			}
		}
	}
	return f
}

func (f unitFile) read(text string) {
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "", line[0] == '#', line[0] == ';':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case ok:
			at := [2]string{section, strings.TrimSpace(key)}
			if value = strings.TrimSpace(value); value == "" {
				delete(f, at) // an empty value resets the list
				continue
			}
			f[at] = append(f[at], value)
		}
	}
}

// all gives the values of some keys of a section.
func (f unitFile) all(section string, keys ...string) []string {
	var values []string
	for _, key := range keys {
		values = append(values, f[[2]string{section, key}]...)
	}
	return values
}

// list gives the words of some keys: unit names, mostly.
func (f unitFile) list(section string, keys ...string) []string {
	return strings.Fields(strings.Join(f.all(section, keys...), " "))
}

// preset is one line of a preset file (systemd.preset(5)).
type preset struct {
	enable  bool
	pattern string
	from    string
}

// pvePreset is what PVE writes into a Debian guest at every start.
const pvePreset = "enable container-getty@.service\ndisable getty@.service\ndisable systemd-networkd.service\ndisable systemd-networkd.socket\n"

// presets are the lines of all preset files, in the order that counts.
func (u *units) presets() []preset {
	files := map[string]string{"00-pve.preset": ""} // base name to path: the first folder wins
	for _, dir := range []string{"etc/systemd/system-preset", "usr/local/lib/systemd/system-preset", "usr/lib/systemd/system-preset", "lib/systemd/system-preset"} {
		for _, e := range u.below(dir) {
			if base := path.Base(e.path); path.Ext(base) == ".preset" {
				if _, taken := files[base]; !taken {
					files[base] = e.path
				}
			}
		}
	}
	var bases []string
	for base := range files {
		bases = append(bases, base)
	}
	slices.Sort(bases)
	var all []preset
	for _, base := range bases {
		text := pvePreset
		if files[base] != "" {
			text, _ = u.text(files[base])
		}
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) >= 2 && (f[0] == "enable" || f[0] == "disable") {
				all = append(all, preset{f[0] == "enable", f[1], base})
			}
		}
	}
	return all
}

// wants says what the presets do with a unit: the first line that matches, or
// enable, systemd's own default.
func wants(all []preset, unit string) preset {
	for _, p := range all {
		if ok, err := path.Match(p.pattern, unit); ok && err == nil {
			return p
		}
	}
	return preset{enable: true, pattern: "*", from: "systemd's default, no preset file names it"}
}
