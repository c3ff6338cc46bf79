package image

import (
	"path"
	"strings"
)

// Preset is one line of a preset file (systemd.preset(5)).
type Preset struct {
	Enable  bool
	Pattern string // of path.Match
	From    string // the file's base name
}

// pvePreset is what PVE writes into a Debian guest at every start.
const pvePreset = "enable container-getty@.service\ndisable getty@.service\ndisable systemd-networkd.service\ndisable systemd-networkd.socket\n"

// Presets returns the lines of all preset files and of PVE's own, in the order
// that counts.
func (u *Units) Presets() []Preset {
	files := map[string]string{"00-pve.preset": ""} // base name to path: the first directory wins
	for _, dir := range presetDirs {
		for _, e := range u.image.Below(dir) {
			if base := path.Base(e.Path); path.Ext(base) == ".preset" {
				if _, taken := files[base]; !taken {
					files[base] = e.Path
				}
			}
		}
	}
	var all []Preset
	for _, base := range sortedKeys(files) {
		text := pvePreset
		if files[base] != "" {
			text, _ = u.image.Text(files[base])
		}
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) >= 2 && (f[0] == "enable" || f[0] == "disable") {
				all = append(all, Preset{f[0] == "enable", f[1], base})
			}
		}
	}
	return all
}

// PresetFor returns the line that decides on a unit: the first that matches, or
// enable, systemd's own default.
func PresetFor(all []Preset, unit string) Preset {
	for _, p := range all {
		if ok, err := path.Match(p.Pattern, unit); ok && err == nil {
			return p
		}
	}
	return Preset{Enable: true, Pattern: "*", From: "systemd's default, no preset file names it"}
}
