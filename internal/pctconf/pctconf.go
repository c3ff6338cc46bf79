// Package pctconf has the grammar of pct.conf, the configuration of a Proxmox
// VE container: its lines and sections, its keys and the form of each value,
// property strings, and the encoding of the description. Call [Parse] to read a
// file, or [Config.Set] and [Config.Format] to write one.
//
// It reads every file that PVE reads and keeps what it does not know, with a
// finding; it writes the canonical form, sorted as PVE sorts. It does no I/O,
// and does not judge whether a valid setting is safe, with one exception:
// [ReachingOut].
package pctconf

import (
	"fmt"
	"slices"
	"strings"
)

// Setting is one "key: value" line.
type Setting struct {
	Key   string
	Value string
	Line  int // line that it was read from, from 1; 0 if it was set
}

// Section is a snapshot or the pending changes.
type Section struct {
	Name        string // "" for the pending section
	Description string
	Settings    []Setting
	LXC         []Setting
	Line        int
}

// Config is a whole file. The zero value is an empty configuration.
type Config struct {
	Description string    // text, lines separated by \n, not encoded
	Settings    []Setting // the current configuration; Parse keeps the file's order
	LXC         []Setting // raw lxc.* lines; their order matters
	Pending     *Section
	Snapshots   []Section
}

// Severity is how much a finding weighs.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // PVE warns, and carries the wrong text into the new guest
	Warning Severity = "warning" // PVE accepts it, but in another meaning than one may expect
)

// Finding is one thing that is wrong with a line.
type Finding struct {
	Line     int // from 1
	Key      string
	Severity Severity
	Message  string
}

// String returns "line N: key: message".
func (f Finding) String() string {
	if f.Key == "" {
		return fmt.Sprintf("line %d: %s", f.Line, f.Message)
	}
	return fmt.Sprintf("line %d: %s: %s", f.Line, f.Key, f.Message)
}

// Get returns the value of key in the current configuration.
func (c *Config) Get(key string) (string, bool) {
	for i := range c.Settings {
		if c.Settings[i].Key == key {
			return c.Settings[i].Value, true
		}
	}
	return "", false
}

// Line returns the line of key in the parsed file, or 0.
func (c *Config) Line(key string) int {
	for i := range c.Settings {
		if c.Settings[i].Key == key {
			return c.Settings[i].Line
		}
	}
	return 0
}

// Set checks value and stores it in canonical form, in place of an older one.
// On an error c is unchanged.
func (c *Config) Set(key, value string) error {
	canonical, err := Canonical(key, value)
	if err != nil {
		return err
	}
	for i := range c.Settings {
		if c.Settings[i].Key == key {
			c.Settings[i] = Setting{Key: key, Value: canonical}
			return nil
		}
	}
	c.Settings = append(c.Settings, Setting{Key: key, Value: canonical})
	return nil
}

// Delete removes key from the current configuration.
func (c *Config) Delete(key string) {
	c.Settings = slices.DeleteFunc(c.Settings, func(s Setting) bool { return s.Key == key })
}

// Bool returns the value of a boolean key, and whether it exists and is valid.
func (c *Config) Bool(key string) (value, ok bool) {
	text, ok := c.Get(key)
	if !ok {
		return false, false
	}
	b, err := ParseBool(text)
	return b, err == nil
}

// Format writes the canonical form: description, keys sorted, lxc.* lines as
// they are, pending section, snapshots sorted by name.
func (c *Config) Format() []byte {
	var b strings.Builder
	writeSection(&b, c.Description, c.Settings, c.LXC)
	if c.Pending != nil {
		b.WriteString("\n[pve:pending]\n")
		writeSection(&b, c.Pending.Description, c.Pending.Settings, c.Pending.LXC)
	}
	snaps := slices.Clone(c.Snapshots)
	slices.SortStableFunc(snaps, func(x, y Section) int { return strings.Compare(x.Name, y.Name) })
	for _, s := range snaps {
		fmt.Fprintf(&b, "\n[%s]\n", s.Name)
		writeSection(&b, s.Description, s.Settings, s.LXC)
	}
	return []byte(b.String())
}

func writeSection(b *strings.Builder, description string, settings, lxc []Setting) {
	b.WriteString(encodeDescription(description))
	sorted := slices.Clone(settings)
	slices.SortStableFunc(sorted, func(x, y Setting) int { return strings.Compare(x.Key, y.Key) })
	for _, s := range slices.Concat(sorted, lxc) {
		fmt.Fprintf(b, "%s: %s\n", s.Key, s.Value)
	}
}
