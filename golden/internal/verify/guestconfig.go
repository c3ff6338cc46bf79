package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// setting returns the value of a key of pct.conf, "" if it is not there.
func (s *subject) setting(key string) string {
	config, _ := s.Config()
	value, _ := config.Get(key)
	return value
}

func checkGuestConfig(c *check) {
	file := c.ByPath[vzdump.ConfigPath]
	if file == nil {
		return // config-first reports it
	}
	if file.Size > vzdump.MaxConfig {
		c.fail(file.Path, "has %d bytes, which exceeds the limit of %d", file.Size, vzdump.MaxConfig)
		return
	}
	config, findings := c.Config()
	for _, f := range findings {
		if f.Severity == pctconf.Error {
			c.fail(file.Path, "%s", f)
		}
	}
	golden := c.opts.Profile == Golden
	for _, key := range []string{"arch", "ostype", "rootfs", "unprivileged", "features", "hostname", "memory"} {
		if _, ok := config.Get(key); !ok && (golden || key == "rootfs") {
			c.fail(file.Path, "no key %s", key)
		}
	}
	for _, s := range config.Settings {
		switch {
		case slices.Contains(pctconf.SourceKeys, s.Family()):
			c.failSetting(s, "want it removed: it is the source guest's, not the image's")
		case s.Family() == "dev", s.Family() == "unused":
			c.failSetting(s, "want none: it names a volume or path of one host")
		case s.Family() == "rootfs" && rootfsBytes(s.Value) <= 0:
			c.failSetting(s, "want a volume with size=")
		case golden:
			c.checkImageSetting(s)
		}
	}
	c.checkSections(config)
	if golden {
		for _, f := range pctconf.ReachingOut(config) {
			line := fmt.Sprintf("line %d: ", f.Line)
			if !slices.ContainsFunc(c.findings, func(known Finding) bool { return strings.HasPrefix(known.Message, line) }) {
				c.fail(file.Path, "%s", f)
			}
		}
	}
}

// failSetting adds a finding about one line of pct.conf.
func (c *check) failSetting(s pctconf.Setting, format string, args ...any) {
	c.fail(vzdump.ConfigPath, "line %d: %s %q: %s", s.Line, s.Key, s.Value, fmt.Sprintf(format, args...))
}

// checkSections refuses what PVE's restore drops, or keeps for root alone.
func (c *check) checkSections(config *pctconf.Config) {
	sections := slices.Clone(config.Snapshots)
	if p := config.Pending; p != nil {
		sections = append(sections, pctconf.Section{Name: "pve:pending", Line: p.Line})
	}
	for _, s := range sections {
		c.fail(vzdump.ConfigPath, "line %d: section [%s], want none: snapshots and pending changes are not the guest's", s.Line, s.Name)
	}
	for _, s := range config.LXC {
		c.failSetting(s, "a raw key, want none: only root's restore keeps it")
	}
}

// checkImageSetting holds one setting of an image against what a guest with
// Docker needs. What reaches out of the guest is [pctconf.ReachingOut]'s.
func (c *check) checkImageSetting(s pctconf.Setting) {
	props, err := pctconf.ParseProperties(s.Value, "")
	if err != nil {
		props = pctconf.Properties{} // the parser's own finding
	}
	switch s.Family() {
	case "mp":
		c.failSetting(s, "want none: it names a volume or path of one host")
	case "unprivileged":
		if on, _ := pctconf.ParseBool(s.Value); !on {
			c.failSetting(s, "want 1")
		}
	case "features":
		if !props.IsOn("nesting") || !props.IsOn("keyctl") {
			c.failSetting(s, "want nesting=1 and keyctl=1, which Docker needs")
		}
	case "net":
		c.checkNet(s, props)
	}
}

func (c *check) checkNet(s pctconf.Setting, props pctconf.Properties) {
	if mac := props["hwaddr"]; mac != "" {
		c.failSetting(s, "hwaddr=%s, want none: every guest would get this MAC address", mac)
	}
	if s.Key != "net0" {
		c.failSetting(s, "want net0 alone: the host sets up one interface for each guest")
	}
}

// rootfsBytes returns the size in a rootfs line; 0 if it has none.
func rootfsBytes(value string) int64 {
	props, err := pctconf.ParseProperties(value, "volume")
	if err != nil || props["size"] == "" {
		return 0
	}
	n, err := pctconf.ParseSize(props["size"])
	if err != nil {
		return 0
	}
	return n
}

func checkRootfsSize(c *check) {
	size := rootfsBytes(c.setting("rootfs"))
	if need := c.Facts.Content*12/10 + 512<<20; size > 0 && size < need {
		c.fail(vzdump.ConfigPath, "rootfs size is %d MiB, want at least %d MiB: 1.2 times the %d MiB that are unpacked and 512 MiB", size>>20, need>>20+1, c.Facts.Content>>20)
	}
}

// asksForDHCP reports whether an interface of pct.conf has its address from a
// DHCP server.
func (c *check) asksForDHCP() bool {
	config, _ := c.Config()
	return slices.ContainsFunc(config.Settings, func(s pctconf.Setting) bool {
		props, err := pctconf.ParseProperties(s.Value, "")
		return strings.HasPrefix(s.Key, "net") && err == nil && (props["ip"] == "dhcp" || props["ip6"] == "dhcp")
	})
}
