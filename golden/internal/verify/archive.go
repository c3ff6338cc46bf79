package verify

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

func checkArchiveName(c *check) {
	if _, err := vzdump.ParseName(c.name); err != nil {
		c.fail("", "the archive is called %q, want vzdump-lxc-VMID-YYYY_MM_DD-HH_MM_SS.tar.zst: %v", c.name, err)
	}
}

func checkFrames(c *check) {
	if c.facts.Compression != vzdump.Zstd {
		return // gzip and none have no frames; PVE reads them
	}
	if c.facts.NoChecksum > 0 {
		c.fail("", "%d of %d zstd frames have no content checksum, want all", c.facts.NoChecksum, c.facts.FrameCount)
	}
	if c.facts.Skippable > 0 {
		c.fail("", "%d skippable zstd frames, want none: no reader looks into them", c.facts.Skippable)
	}
}

func checkHash(c *check) {
	if want := strings.ToLower(strings.TrimSpace(c.opts.SHA256)); want != "" && want != c.sha256 {
		c.fail("", "SHA-256 is %s, want %s", c.sha256, want)
	}
}

func checkConfigFirst(c *check) {
	config := c.byPath[vzdump.ConfigPath]
	switch {
	case config == nil:
		c.fail("", "no ./%s, want it as the first member: restore refuses the archive", vzdump.ConfigPath)
	case config.typ != vzdump.File:
		c.fail(config.path, "is a %s, want a regular file", config.typ)
	case c.entries[0] != config:
		c.fail(config.path, "is not the first member (that is ./%s): restore unpacks up to it to read it", c.entries[0].path)
	}
	for _, e := range c.below("etc/vzdump") {
		if e.path != vzdump.ConfigPath && e.path != vzdump.FirewallPath {
			c.fail(e.path, "nothing but pct.conf and pct.fw belongs here")
		}
	}
}

func checkFirewall(c *check) {
	if e := c.byPath[vzdump.FirewallPath]; e != nil && (e.typ != vzdump.File || e.size > 0) {
		c.fail(e.path, "%s of %d bytes, want absent or empty: restore makes it the guest's firewall configuration", e.typ, e.size)
	}
}

func checkBudget(c *check) {
	for _, b := range []struct {
		what      string
		got, most int64
	}{
		{"bytes in the archive", c.facts.Packed, c.opts.MaxPacked},
		{"bytes unpacked", c.facts.Content, c.opts.MaxUnpacked},
		{"members", int64(c.facts.Entries), int64(c.opts.MaxEntries)},
	} {
		if b.most > 0 && b.got > b.most {
			c.fail("", "%d %s, want at most %d", b.got, b.what, b.most)
		}
	}
}

// eachOdd reports every member that has one of these oddities.
func (c *check) eachOdd(what map[vzdump.Oddity]string) {
	for _, e := range c.entries {
		for _, odd := range vzdump.Oddities() {
			if text, ok := what[odd]; ok && e.odd.Has(odd) {
				c.fail(e.path, "%s", text)
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
	if c.facts.Runs > 2 {
		c.fail("", "members come in %d sorted runs, want one for the overlay and one for the base", c.facts.Runs)
	}
}

func checkParents(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{
		vzdump.NoParent: "no member for its folder so far: restore makes it 0755 root:root",
		vzdump.LateDir:  "comes after one of its children: restore does not apply its mode and owner",
	})
	for _, name := range []string{".", "etc"} {
		if e := c.byPath[name]; e == nil || e.typ != vzdump.Dir || e.mode != 0o755 || e.uid != 0 || e.gid != 0 {
			found := "is missing"
			if e != nil {
				found = fmt.Sprintf("is a %s of mode %04o, owner %d:%d", e.typ, e.mode, e.uid, e.gid)
			}
			c.fail(name, "%s, want a folder, 0755, 0:0: restore ignores what the member says", found)
		}
	}
}

func checkTypes(c *check) {
	what := map[vzdump.Oddity]string{
		vzdump.Sparse:        "is stored with holes",
		vzdump.UnknownRecord: "has a pax record that is not in the standard",
	}
	if c.opts.profile() == Restore {
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
	for _, e := range c.entries {
		if at := time.Unix(e.mtime, 0); !latest.IsZero() && at.After(latest) {
			c.fail(e.path, "its time is %s, want none after %s", at.UTC().Format(time.RFC3339), latest.UTC().Format(time.RFC3339))
		}
	}
}

func checkIDs(c *check) {
	for _, e := range c.entries {
		if e.uid < 0 || e.uid > vzdump.MaxID || e.gid < 0 || e.gid > vzdump.MaxID {
			c.fail(e.path, "owner %d:%d, want ids from 0 to %d", e.uid, e.gid, vzdump.MaxID)
		}
	}
}

func checkXattrs(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{vzdump.ForeignXattr: "has an extended attribute outside user.* and security.capability: restore drops it"})
	for _, e := range c.entries {
		if e.hasCaps {
			if cap, err := vzdump.ParseCapability(e.caps); err != nil || cap.RootID != 0 {
				c.fail(e.path, "file capabilities %x, want revision 2: the kernel does not set others, or for another namespace", e.caps)
			}
		}
	}
}

func checkHardLinks(c *check) {
	c.eachOdd(map[vzdump.Oddity]string{vzdump.BadLink: "hard link to what is no earlier file: restore fails"})
}

func checkDevices(c *check) {
	for _, e := range c.entries {
		switch device := e.typ == vzdump.Char || e.typ == vzdump.Block; {
		case e.odd.Has(vzdump.UnderDev):
			c.fail(e.path, "below /dev: restore leaves it out")
		case device && (e.typ == vzdump.Block || !e.white): // 0:0 is an overlay whiteout
			c.fail(e.path, "is a %s: mknod fails in an unprivileged guest, and restore with it", e.typ)
		}
	}
}

func checkDebianVersion(c *check) {
	ostype := c.setting("ostype")
	if ostype == "unmanaged" {
		return
	}
	release, _ := c.text("etc/os-release")
	id := regexp.MustCompile(`(?m)^ID="?([a-z-]+)"?$`).FindStringSubmatch(release)
	switch {
	case id == nil:
		c.fail("etc/os-release", "no ID=, want one: PVE takes the guest for unmanaged and sets up no network")
		return
	case ostype != "" && id[1] != ostype:
		c.fail("etc/os-release", "ID is %q, want the ostype of pct.conf, %q", id[1], ostype)
	}
	if id[1] != "debian" {
		return
	}
	text, _ := c.text("etc/debian_version")
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
	if len(c.entries) < 10 {
		c.fail("", "%d members, want at least 10: this is no system", len(c.entries))
	}
	for _, name := range []string{"bin", "sbin", "lib", "usr", "lib64"} {
		switch e, _ := c.lookup(name); {
		case e == nil && (name != "lib64" || c.byPath[name] != nil):
			c.fail(name, "leads to nothing, want a folder")
		case e != nil && e.typ != vzdump.Dir:
			c.fail(name, "leads to a %s, want a folder", e.typ)
		}
	}
}
