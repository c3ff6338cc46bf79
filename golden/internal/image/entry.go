package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	// extraBytes is what [Extra] costs apart from its texts.
	extraBytes = 96
	// mapBytes is what the attributes of one member cost as a whole, and
	// attributeBytes what one of them costs apart from its texts.
	mapBytes, attributeBytes = 320, 96
	// maxCapability is more than file capabilities have; the rest is of no use.
	maxCapability = 32
	// maxAttribute is the longest attribute that is kept as it is.
	maxAttribute = 64
)

// Entry is what is kept of one member.
type Entry struct {
	Path    string // slash path without "./"; the root is "."
	Link    string // the text of a symlink; the target of a hard link, a Path
	UID     int
	GID     int
	Size    int64
	ModTime int64    // seconds since 1970
	Digest  [32]byte // of the content, if Hashed
	Extra   *Extra   // nil for most members
	Odd     vzdump.Oddity
	Mode    uint32
	Type    vzdump.Type
	Hashed  bool
}

// Extra is what few members have.
type Extra struct {
	DevMajor, DevMinor int64

	Capability    string // value of security.capability, cut to 32 bytes
	HasCapability bool

	// Xattrs has the attributes by name, in hexadecimal digits; of a long one
	// its digest and length. Access control lists are among them, as text.
	Xattrs map[string]string
}

// newEntry returns the entry of a member, and the bytes that it costs.
func newEntry(m *vzdump.Entry, attributes bool) (*Entry, int64) {
	e := &Entry{
		Path: m.Path, Link: m.Link, Type: m.Type, Mode: m.Mode, UID: m.UID, GID: m.GID, Size: m.Size, ModTime: m.ModTime.Unix(), Odd: m.Odd,
	}
	cost := entryBytes + len(e.Path) + len(e.Link)
	x := Extra{DevMajor: m.DevMajor, DevMinor: m.DevMinor}
	if value, ok := m.Xattrs[vzdump.CapabilityXattr]; ok {
		x.Capability, x.HasCapability = strings.Clone(value[:min(len(value), maxCapability)]), true
	}
	if attributes {
		x.Xattrs = summarize(m)
	}
	if x.HasCapability || x.Xattrs != nil || m.Type == vzdump.Char || m.Type == vzdump.Block {
		e.Extra = &x
		cost += extraBytes + len(x.Capability)
	}
	if x.Xattrs != nil {
		cost += mapBytes
	}
	for name, value := range x.Xattrs {
		cost += attributeBytes + len(name) + len(value)
	}
	return e, int64(cost)
}

// summarize returns what [Extra.Xattrs] has of a member.
func summarize(m *vzdump.Entry) map[string]string {
	var all map[string]string
	set := func(name, value string) {
		if all == nil {
			all = map[string]string{}
		}
		all[name] = value
	}
	for name, value := range m.Xattrs {
		if len(value) > maxAttribute {
			set(name, fmt.Sprintf("sha256:%x of %d bytes", sha256.Sum256([]byte(value)), len(value)))
			continue
		}
		set(name, hex.EncodeToString([]byte(value)))
	}
	if m.ACL != nil {
		set("acl.access", m.ACL.String())
	}
	if m.DefaultACL != nil {
		set("acl.default", m.DefaultACL.String())
	}
	return all
}

// IsDevice reports whether e is a device node.
func (e *Entry) IsDevice() bool { return e.Type == vzdump.Char || e.Type == vzdump.Block }

// Device returns the major and minor number of a device, with a colon between
// them; "" for any other member.
func (e *Entry) Device() string {
	if !e.IsDevice() {
		return ""
	}
	return fmt.Sprintf("%d:%d", e.Extra.DevMajor, e.Extra.DevMinor)
}

// IsWhiteout reports whether e is the character device 0:0, by which an overlay
// file system hides a file.
func (e *Entry) IsWhiteout() bool { return e.Type == vzdump.Char && e.Device() == "0:0" }

// Capability returns the value of the file capabilities, cut to 32 bytes, and
// whether e has any.
func (e *Entry) Capability() (string, bool) {
	if e.Extra == nil {
		return "", false
	}
	return e.Extra.Capability, e.Extra.HasCapability
}

// Xattrs returns [Extra.Xattrs]; nil if e has none.
func (e *Entry) Xattrs() map[string]string {
	if e.Extra == nil {
		return nil
	}
	return e.Extra.Xattrs
}

// Lookup returns what a path leads to, through links in any of its elements, as
// inside the guest, and where that is. A nil entry means nothing, or a loop.
func (img *Image) Lookup(name string) (*Entry, string) {
	at := "."
	rest := strings.Split(strings.Trim(name, "/"), "/")
	for hops := 0; len(rest) > 0; {
		elem := rest[0]
		rest = rest[1:]
		switch elem {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, elem)
		e := img.ByPath[next]
		// A directory without a member is implied: the guest configuration comes
		// before the directories that it is in.
		if e == nil || e.Type != vzdump.Symlink {
			at = next
			continue
		}
		if hops++; hops > 40 { // the kernel's own limit
			return nil, next
		}
		if strings.HasPrefix(e.Link, "/") {
			at = "."
		}
		rest = append(strings.Split(strings.Trim(e.Link, "/"), "/"), rest...)
	}
	e := img.ByPath[at]
	if e != nil && e.Type == vzdump.Link {
		if target := img.ByPath[e.Link]; target != nil {
			return target, e.Link
		}
	}
	return e, at
}

// Text returns the kept content of what a path leads to, and whether it was kept.
func (img *Image) Text(name string) (string, bool) {
	_, at := img.Lookup(name)
	data, ok := img.Content[at]
	return asText(data), ok
}

// Below returns the members below a directory, in the order of the archive.
func (img *Image) Below(dir string) []*Entry {
	var found []*Entry
	for _, e := range img.Entries {
		if IsBelow(dir, e.Path) {
			found = append(found, e)
		}
	}
	return found
}

// IsBelow reports whether the path name is below the directory dir.
func IsBelow(dir, name string) bool {
	return len(name) > len(dir) && name[len(dir)] == '/' && name[:len(dir)] == dir
}
