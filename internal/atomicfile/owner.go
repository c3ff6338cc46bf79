package atomicfile

import (
	"io/fs"
	"syscall"
)

func isOwner(info fs.FileInfo, attr Attr) bool {
	if !attr.Chown {
		return true
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == attr.UID && int(st.Gid) == attr.GID
}
