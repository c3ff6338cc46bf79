package verify

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func checkArchiveName(c *check) {
	if _, err := vzdump.ParseName(c.name); err != nil {
		c.fail("", "the archive is called %q, want vzdump-lxc-VMID-YYYY_MM_DD-HH_MM_SS.tar.zst: %v", c.name, err)
	}
}

func checkFrames(c *check) {
	if strings.Contains(c.name, ".tar") { // not for stdin
		if err := c.Facts.Compression.CheckName(c.name); err != nil {
			c.fail("", "%v", err)
		}
	}
	if c.Facts.Compression != vzdump.Zstd {
		return // gzip and none have no frames; PVE reads them
	}
	if c.Facts.NoChecksum > 0 {
		c.fail("", "%d of %d zstd frames have no content checksum, want all", c.Facts.NoChecksum, c.Facts.FrameCount)
	}
	if c.Facts.Skippable > 0 {
		c.fail("", "%d skippable zstd frames, want none: no reader looks into them", c.Facts.Skippable)
	}
}

func checkHash(c *check) {
	if want := strings.ToLower(strings.TrimSpace(c.opts.SHA256)); want != "" && want != c.sha256 {
		c.fail("", "SHA-256 is %s, want %s", c.sha256, want)
	}
}

func checkConfigFirst(c *check) {
	config := c.ByPath[vzdump.ConfigPath]
	switch {
	case config == nil:
		c.fail("", "no ./%s, want it as the first member: restore refuses the archive", vzdump.ConfigPath)
	case config.Type != vzdump.File:
		c.fail(config.Path, "is a %s, want a regular file", config.Type)
	case c.Entries[0] != config:
		c.fail(config.Path, "is not the first member (that is ./%s): restore unpacks up to it to read it", c.Entries[0].Path)
	}
	for _, e := range c.Below("etc/vzdump") {
		if e.Path != vzdump.ConfigPath && e.Path != vzdump.FirewallPath {
			c.fail(e.Path, "nothing but pct.conf and pct.fw belongs here")
		}
	}
}

// checkContents compares the archive's table of contents with what was read.
func checkContents(c *check) {
	e := c.ByPath[contents.Path]
	if e == nil {
		return // made by another program
	}
	data := c.Content[contents.Path]
	if e.Type != vzdump.File || e.Odd.Has(vzdump.Sparse) || int64(len(data)) != e.Size {
		c.fail(e.Path, "a %s of %d bytes, want a table of contents of at most %d", e.Type, e.Size, contents.MaxBytes)
		return
	}
	table, err := contents.Parse(data)
	if err != nil {
		c.fail(e.Path, "%v", err)
		return
	}
	var counts contents.Counts
	for _, e := range c.Entries {
		if !e.Odd.Has(vzdump.Duplicate) {
			counts.Add(e.Path, e.Type, e.Size)
		}
	}
	for _, text := range table.Differences(contents.Of(c.Image, counts)) {
		c.fail(e.Path, "%s", text)
	}
}

func checkFirewall(c *check) {
	if e := c.ByPath[vzdump.FirewallPath]; e != nil && (e.Type != vzdump.File || e.Size > 0) {
		c.fail(e.Path, "%s of %d bytes, want absent or empty: restore makes it the guest's firewall configuration", e.Type, e.Size)
	}
}

func checkBudget(c *check) {
	for _, b := range []struct {
		what      string
		got, most int64
	}{
		{"bytes in the archive", c.Facts.Packed, c.opts.MaxPacked},
		{"bytes unpacked", c.Facts.Content, c.opts.MaxUnpacked},
		{"members", int64(c.Facts.Entries), int64(c.opts.MaxEntries)},
	} {
		if b.most > 0 && b.got > b.most {
			c.fail("", "%d %s, want at most %d", b.got, b.what, b.most)
		}
	}
}

// eachOdd reports every member that has one of these oddities.
func (c *check) eachOdd(what map[vzdump.Oddity]string) {
	for _, e := range c.Entries {
		for _, odd := range vzdump.Oddities() {
			if text, ok := what[odd]; ok && e.Odd.Has(odd) {
				c.fail(e.Path, "%s", text)
			}
		}
	}
}

func checkNames(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{
		vzdump.ControlChars: "name or link text has control characters",
		vzdump.Duplicate:    "the name was there before: restore keeps the first, other readers the last",
	})
}

func checkOrder(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{
		vzdump.OwnerNames: "has the name of an owner or group, want numbers only",
	})
	if c.Facts.Runs > 3 {
		c.fail("", "members come in %d sorted runs, want one for the overlay, one for large files and one for the rest", c.Facts.Runs)
	}
}

func checkParents(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{
		vzdump.NoParent: "no member for its directory so far: restore makes it 0755 root:root",
		vzdump.LateDir:  "comes after one of its children: restore does not apply its mode and owner",
	})
}

func checkTypes(c *check) {
	what := map[vzdump.Oddity]string{
		vzdump.Sparse:        "is stored with holes",
		vzdump.UnknownRecord: "has a pax record that is not in the standard",
	}
	if c.opts.Profile == Restore {
		delete(what, vzdump.Sparse) // vzdump writes them, and restore makes them again
	}
	c.eachOdd(what)
}

func checkTimes(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{
		vzdump.SubSecond: "its time has a fraction of a second",
		vzdump.Times:     "carries access or change time",
	})
	latest := c.opts.Epoch
	if stamp := regexp.MustCompile(`\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d`).FindString(c.name); latest.IsZero() && stamp != "" {
		if at, err := time.Parse("2006_01_02-15_04_05", stamp); err == nil {
			latest = at.Add(24 * time.Hour) // the name is in the local time of whoever made it
		}
	}
	for _, e := range c.Entries {
		if at := time.Unix(e.ModTime, 0); !latest.IsZero() && at.After(latest) {
			c.fail(e.Path, "its time is %s, want none after %s", at.UTC().Format(time.RFC3339), latest.UTC().Format(time.RFC3339))
		}
	}
}

func checkIDs(c *check) {
	for _, e := range c.Entries {
		if e.UID < 0 || e.UID > vzdump.MaxID || e.GID < 0 || e.GID > vzdump.MaxID {
			c.fail(e.Path, "owner %d:%d, want ids from 0 to %d", e.UID, e.GID, vzdump.MaxID)
		}
	}
}

func checkXattrs(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{vzdump.OtherXattr: "has an extended attribute outside user.* and security.capability: restore drops it"})
	for _, e := range c.Entries {
		if value, ok := e.Capability(); ok {
			if parsed, err := vzdump.ParseCapability(value); err != nil || parsed.RootID != 0 {
				c.fail(e.Path, "file capabilities %x, want revision 2: the kernel does not set others, or for another namespace", value)
			}
		}
	}
}

func checkHardLinks(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{vzdump.BadLink: "hard link to what is no earlier file: restore fails"})
}

func checkDevices(c *check) {
	for _, e := range c.Entries {
		switch {
		case e.Odd.Has(vzdump.UnderDev):
			c.fail(e.Path, "below /dev: restore leaves it out")
		case e.IsDevice() && !e.IsWhiteout():
			c.fail(e.Path, "is a %s: mknod fails in an unprivileged guest, and restore with it", e.Type)
		}
	}
}

func checkDebianVersion(c *check) {
	ostype := c.setting("ostype")
	if ostype == "unmanaged" {
		return
	}
	id := c.OSRelease()["ID"]
	switch {
	case id == "":
		c.fail("etc/os-release", "no ID=, want one: PVE takes the guest for unmanaged and sets up no network")
		return
	case ostype != "" && id != ostype:
		c.fail("etc/os-release", "ID is %q, want the ostype of pct.conf, %q", id, ostype)
	}
	if id != "debian" {
		return
	}
	text, _ := c.Text("etc/debian_version")
	text = strings.TrimSpace(text)
	m := regexp.MustCompile(`^(?:(\d+)(?:\.\d+)*|[a-z]+/sid)$`).FindStringSubmatch(text)
	if m == nil {
		c.fail("etc/debian_version", "%q, want MAJOR.MINOR or NAME/sid: PVE refuses the guest", text)
		return
	}
	if major, err := strconv.Atoi(m[1]); err == nil && major < 4 {
		c.fail("etc/debian_version", "release %d, want 4 or later", major)
	}
}

func checkLayout(c *check) {
	if len(c.Entries) < 10 {
		c.fail("", "%d members, want at least 10: this is not a system", len(c.Entries))
	}
	for _, name := range []string{"bin", "sbin", "lib", "usr", "lib64"} {
		switch e, _ := c.Lookup(name); {
		case e == nil && (name != "lib64" || c.ByPath[name] != nil):
			c.fail(name, "leads to nothing, want a directory")
		case e != nil && e.Type != vzdump.Dir:
			c.fail(name, "leads to a %s, want a directory", e.Type)
		}
	}
}
