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

// MaxPresets is how many lines [Units.Presets] reads; Debian has some fifty. Each
// unit is compared with each line.
const MaxPresets = 4096

// Presets returns the lines of all preset files and of PVE's own, in the order
// that counts. isAll is false if there are more than [MaxPresets].
func (u *Units) Presets() (all []Preset, isAll bool) {
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
	for _, base := range sortedKeys(files) {
		text := pvePreset
		if files[base] != "" {
			text, _ = u.image.Text(files[base])
		}
		for line := range strings.Lines(text) {
			if p, ok := parsePreset(line, base); ok {
				if len(all) == MaxPresets {
					return all, false
				}
				all = append(all, p)
			}
		}
	}
	return all, true
}

// parsePreset reads a line of the file with that base name. ok is false if it
// is not a preset, such as a comment.
func parsePreset(line, from string) (p Preset, ok bool) {
	f := strings.Fields(line)
	if len(f) < 2 || f[0] != "enable" && f[0] != "disable" {
		return Preset{}, false
	}
	return Preset{f[0] == "enable", f[1], from}, true
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
