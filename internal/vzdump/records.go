package vzdump

import "strings"

// pax record prefixes of GNU tar and star.
const (
	xattrPrefix  = "SCHILY.xattr."
	aclPrefix    = "SCHILY.acl."
	sparsePrefix = "GNU.sparse."
)

// CapabilityXattr holds a file's capabilities.
const CapabilityXattr = "security.capability"

// Record keys that are in the standard (POSIX.1-2001, pax).
var standardRecords = map[string]bool{
	"path": true, "linkpath": true, "size": true, "uid": true, "gid": true, "uname": true, "gname": true,
	"mtime": true, "atime": true, "ctime": true, "comment": true,
}

// IsRestoredXattr reports whether PVE stores and restores the attribute.
func IsRestoredXattr(name string) bool {
	return strings.HasPrefix(name, "user.") || name == CapabilityXattr
}

// GNU tar escapes what a pax key cannot hold.
var (
	escapeXattr   = strings.NewReplacer("%", "%25", "=", "%3D")
	unescapeXattr = strings.NewReplacer("%25", "%", "%3D", "=")
)

// readRecords sets the fields of an entry that come from pax records.
func readRecords(e *Entry, records map[string]string) (err error) {
	for key, value := range records {
		switch {
		case strings.HasPrefix(key, xattrPrefix):
			name := unescapeXattr.Replace(key[len(xattrPrefix):])
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			if _, twice := e.Xattrs[name]; twice {
				return refuse(ErrUnsupported, e.RawName, "the attribute %q is there twice", name)
			}
			e.Xattrs[name] = value
			if !IsRestoredXattr(name) {
				e.Odd |= OtherXattr
			}
		case key == aclPrefix+"access":
			e.ACL, err = parseACL(value)
		case key == aclPrefix+"default":
			e.DefaultACL, err = parseACL(value)
		case strings.HasPrefix(key, sparsePrefix):
			e.Odd |= Sparse
		case key == "atime" || key == "ctime":
			e.Odd |= Times
		case !standardRecords[key]:
			e.Odd |= UnknownRecord
		}
		if err != nil {
			return refuse(ErrUnsupported, e.RawName, "the pax record %q: %s", key, err)
		}
	}
	if e.DefaultACL != nil && e.Type != Dir {
		return refuse(ErrUnsupported, e.RawName, "a %s with a default access control list, which directories have", e.Type)
	}
	return nil
}

func headerOddity(e *Entry) Oddity {
	var odd Oddity
	if e.ModTime.Nanosecond() != 0 {
		odd |= SubSecond
	}
	if e.Uname != "" || e.Gname != "" {
		odd |= OwnerNames
	}
	return odd
}
