// Package vzdump reads and writes Proxmox VE's container backups: names of
// archives, members and their order, tar dialect and zstd frames, as specified
// in docs/vzdump.md. [NewReader] reads archives of any PVE and of attackers,
// [ReadConfig] only their pct.conf; [NewFrame] writes the one canonical form.
//
// It works on io.Reader and io.Writer: it opens no file, makes no decision
// about content, and does not know the grammar of pct.conf (package pctconf).
// The [Reader] refuses only what is hostile or unreadable; the caller decides
// by its facts whether to accept an odd archive that can be restored.
package vzdump

import "time"

// Paths of the two members that PVE puts before the tree.
const (
	ConfigPath   = "etc/vzdump/pct.conf" // the guest's configuration; the first member
	FirewallPath = "etc/vzdump/pct.fw"   // its firewall rules; empty in a golden image
)

// MaxID is the greatest uid and gid that an unprivileged guest can own: PVE
// maps 65,536 ids, and tar fails on any other ("Cannot change ownership").
const MaxID = 65535

// MaxWindow is the largest zstd window, in bytes, that stock decoders accept by
// default (zstd -d, tar --zstd, and so PVE).
const MaxWindow = 128 << 20

// Type is the kind of a member.
type Type uint8

// The kinds. Other stands for tar types outside the format (multi-volume,
// contiguous, vendor types).
const (
	File Type = iota + 1
	Dir
	Symlink
	Link // hard link to an earlier member
	Char
	Block
	Fifo
	Other
)

var typeNames = [...]string{
	File: "file", Dir: "directory", Symlink: "symlink", Link: "hard link",
	Char: "character device", Block: "block device", Fifo: "fifo", Other: "other",
}

// String returns the name for messages and manifests.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return "unknown"
}

// Entry is one member. The Reader fills all fields; a [Frame] uses those above
// the line and refuses what the format does not allow.
type Entry struct {
	Path    string // slash path without "./": "etc/passwd"; the root is "."
	Type    Type
	Link    string // Symlink: the unchanged text; Link: a Path
	Mode    uint32 // permission, set-id and sticky bits, 07777
	UID     int
	GID     int
	Size    int64 // bytes of content, holes included; 0 unless File
	ModTime time.Time
	Xattrs  map[string]string // name to raw value; nil if there are none

	// ---- read only

	RawName  string // as it is in the archive: "./etc/passwd"
	RawLink  string
	Uname    string // names of owner and group; tar ignores them on restore
	Gname    string
	Stored   int64 // bytes of content without holes
	DevMajor int64
	DevMinor int64
	Index    int    // position, from 0
	Odd      Oddity // what is unusual about this member

	ACL        ACL // access control list beyond the mode, or nil
	DefaultACL ACL // of a directory: the list for what is created in it, or nil
}
