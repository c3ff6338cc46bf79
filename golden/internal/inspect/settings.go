package inspect

import (
	"strings"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

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
