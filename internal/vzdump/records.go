package vzdump

import (
	"archive/tar"
	"strings"
)

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
	"mtime": true, "atime": true, "ctime": true, "comment": true, "charset": true, "hdrcharset": true,
}

// IsRestoredXattr says whether PVE stores and restores the attribute.
func IsRestoredXattr(name string) bool {
	return strings.HasPrefix(name, "user.") || name == CapabilityXattr
}

// GNU tar escapes what a pax key cannot hold.
var (
	escapeXattr   = strings.NewReplacer("%", "%25", "=", "%3D")
	unescapeXattr = strings.NewReplacer("%25", "%", "%3D", "=")
)

func typeOf(hdr *tar.Header) Type {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return File
	case tar.TypeDir:
		return Dir
	case tar.TypeSymlink:
		return Symlink
	case tar.TypeLink:
		return Link
	case tar.TypeChar:
		return Char
	case tar.TypeBlock:
		return Block
	case tar.TypeFifo:
		return Fifo
	}
	return Other
}

// checkPAX bounds the records and refuses those that change what tar makes of
// the member in a way that archive/tar does not know.
func (r *Reader) checkPAX(hdr *tar.Header) error {
	size := 0
	for key, value := range hdr.PAXRecords {
		size += len(key) + len(value)
		if strings.HasPrefix(key, "GNU.volume.") || strings.HasPrefix(key, "GNU.dumpdir") {
			return refuse(ErrUnsupported, hdr.Name, "pax record %q: multi-volume and incremental archives are not taken", key)
		}
	}
	if size > r.limits.PAX {
		return refuse(ErrLimit, hdr.Name, "%d bytes of pax records, at most %d are taken", size, r.limits.PAX)
	}
	return nil
}

// readRecords fills what stands in pax records.
func readRecords(e *Entry) {
	for key, value := range e.PAX {
		switch {
		case strings.HasPrefix(key, xattrPrefix):
			name := unescapeXattr.Replace(key[len(xattrPrefix):])
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = value
			if !IsRestoredXattr(name) {
				e.Odd |= ForeignXattr
			}
		case strings.HasPrefix(key, aclPrefix):
			e.ACL = true
		case strings.HasPrefix(key, sparsePrefix):
			e.Odd |= Sparse
		case key == "atime" || key == "ctime":
			e.Odd |= Times
		case !standardRecords[key]:
			e.Odd |= UnknownRecord
		}
	}
}

func headerOddity(hdr *tar.Header, e *Entry) Oddity {
	var odd Oddity
	// A plain ustar header is what pax is without records.
	if hdr.Format&(tar.FormatPAX|tar.FormatUSTAR) == 0 {
		odd |= NotPAX
	}
	if hdr.Typeflag == tar.TypeGNUSparse {
		odd |= Sparse
	}
	if hdr.ModTime.Nanosecond() != 0 {
		odd |= SubSecond
	}
	if !hdr.AccessTime.IsZero() || !hdr.ChangeTime.IsZero() {
		odd |= Times
	}
	if e.Uname != "" || e.Gname != "" {
		odd |= OwnerNames
	}
	return odd
}
