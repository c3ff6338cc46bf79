package inspect

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/preload"
	"github.com/felhom/felhom-golden/golden/internal/provenance"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	dpkgStatus  = "var/lib/dpkg/status"
	adminUnits  = "etc/systemd/system"
	preloadPath = contract.PreloadDir + "/" + contract.PreloadIndex
)

func unitFolders() []string {
	return []string{adminUnits, "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}
}

// Unit is a systemd unit and its state, in the words of "systemctl
// is-enabled": enabled, disabled, static (nothing to enable), masked, alias.
type Unit struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// wanted says whether a report looks into a file.
func wanted(name string) bool {
	switch name {
	case vzdump.ConfigPath, dpkgStatus, "etc/os-release", "usr/lib/os-release", preloadPath[1:]:
		return true
	}
	for _, dir := range unitFolders() {
		if strings.HasPrefix(name, dir+"/") && isUnit(path.Base(name)) {
			return true
		}
	}
	return false
}

func isUnit(name string) bool {
	return slices.Contains([]string{".service", ".socket", ".target", ".timer", ".mount", ".path", ".slice", ".automount", ".swap"}, path.Ext(name))
}

// finish makes the report of what was kept.
func (s *scan) finish() error {
	r := &s.report
	r.Packages, r.Images, r.Problems = []provenance.Package{}, []preload.Image{}, []string{}
	conf, ok := s.content[vzdump.ConfigPath]
	if !ok {
		r.Problems = append(r.Problems, fmt.Sprintf("want ./%s, found none", vzdump.ConfigPath))
	}
	parsed, findings := pctconf.Parse([]byte(conf))
	for _, f := range findings {
		r.Problems = append(r.Problems, "pct.conf: "+f.String())
	}
	r.Config = Settings(parsed)
	release, ok := s.content["usr/lib/os-release"]
	if !ok {
		release = s.content["etc/os-release"]
	}
	r.OS = parseOS(release)
	if status, ok := s.content[dpkgStatus]; ok {
		list, err := provenance.Packages(strings.NewReader(status))
		if err != nil {
			r.Problems = append(r.Problems, err.Error())
		} else {
			r.Packages = list
		}
	}
	if index, ok := s.content[preloadPath[1:]]; ok {
		var file struct {
			Images []preload.Image `json:"images"`
		}
		if _, err := contract.ParsePreload([]byte(index)); err != nil {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: %v", preloadPath, err))
		} else if err := json.Unmarshal([]byte(index), &file); err != nil {
			return err
		}
		r.Images = append(r.Images, file.Images...)
	}
	r.Units = s.units()
	r.Folders = make([]Folder, 0, len(s.folders))
	for _, f := range s.folders {
		r.Folders = append(r.Folders, *f)
	}
	slices.SortFunc(r.Folders, func(a, b Folder) int {
		if a.Bytes != b.Bytes {
			return int(max(-1, min(1, b.Bytes-a.Bytes)))
		}
		return strings.Compare(a.Path, b.Path)
	})
	return nil
}

// Settings lays a configuration out flat. Keys of other sections than the
// current one begin with the section's name in brackets; the raw lxc lines,
// whose order counts, are one text.
func Settings(c *pctconf.Config) map[string]string {
	flat := map[string]string{}
	add := func(prefix, description string, settings, raw []pctconf.Setting) {
		if description != "" {
			flat[prefix+"description"] = description
		}
		for _, s := range settings {
			flat[prefix+s.Key] = s.Value
		}
		var lines []string
		for _, s := range raw {
			lines = append(lines, s.Key+": "+s.Value)
		}
		if lines != nil {
			flat[prefix+"lxc"] = strings.Join(lines, "\n")
		}
	}
	add("", c.Description, c.Settings, c.LXC)
	if c.Pending != nil {
		add("[pve:pending] ", c.Pending.Description, c.Pending.Settings, c.Pending.LXC)
	}
	for _, s := range c.Snapshots {
		add("["+s.Name+"] ", s.Description, s.Settings, s.LXC)
	}
	return flat
}

func parseOS(text string) OS {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return OS{ID: values["ID"], VersionID: values["VERSION_ID"], Codename: values["VERSION_CODENAME"], PrettyName: values["PRETTY_NAME"]}
}

// units gives every unit its state. The folders are in systemd's order, so the
// first that has a unit decides (systemd.unit(5), "Unit File Load Path").
func (s *scan) units() []Unit {
	state := map[string]string{}
	for _, dir := range unitFolders() {
		for name, link := range s.links {
			if path.Dir(name) == dir {
				first(state, path.Base(name), linkState(path.Base(name), link))
			}
		}
		for name, text := range s.content {
			if path.Dir(name) == dir {
				first(state, path.Base(name), fileState(text))
			}
		}
	}
	for name, link := range s.links {
		if !strings.HasPrefix(name, adminUnits+"/") || link == "/dev/null" {
			continue
		}
		unit, dir := path.Base(name), path.Dir(name)
		if dir == adminUnits { // an alias enables what it leads to
			unit = path.Base(link)
		} else if !slices.Contains([]string{".wants", ".requires", ".upholds"}, path.Ext(dir)) {
			continue
		}
		if state[unit] != "masked" {
			state[unit] = "enabled"
		}
	}
	list := make([]Unit, 0, len(state))
	for name, is := range state {
		list = append(list, Unit{name, is})
	}
	slices.SortFunc(list, func(a, b Unit) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func first(state map[string]string, name, is string) {
	if _, taken := state[name]; !taken {
		state[name] = is
	}
}

func linkState(name, link string) string {
	switch {
	case link == "/dev/null":
		return "masked"
	case path.Base(link) == name:
		return "enabled" // the file lies elsewhere: a linked unit
	}
	return "alias"
}

func fileState(text string) string {
	switch {
	case text == "":
		return "masked"
	case strings.Contains("\n"+text, "\n[Install]"):
		return "disabled"
	}
	return "static"
}
