package unpack_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree describes everything below dir that a restore decides. The times of
// directories that no member brought are those of the run.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	return describe(t, dir, true)
}

// describe is tree, with the times of directories or without. Without, it also leaves out the
// set-group-id bit of directories with rights for their owner alone: if a member outside of the
// directory above comes first, tar lets them inherit it.
func describe(t *testing.T, dir string, dirTimes bool) map[string]string {
	t.Helper()
	got := map[string]string{}
	inodes := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		if !dirTimes && d.IsDir() && st.Mode&0o5077 == 0 {
			st.Mode &^= unix.S_ISGID
		}
		line := fmt.Sprintf("%o %d:%d %d", st.Mode, st.Uid, st.Gid, st.Rdev)
		if rel != "." && rel != "etc" && rel != "etc/vzdump" && (dirTimes || !d.IsDir()) {
			line += fmt.Sprintf(" %d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
		}
		switch {
		case d.Type().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			// The file system's own blocks come and go: a part of the size is enough to see it.
			line += fmt.Sprintf(" %d %x holes %v", len(data), sha256.Sum256(data), st.Blocks*512*2 < st.Size)
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + to
		}
		if !d.IsDir() && st.Nlink > 1 {
			if first, ok := inodes[st.Ino]; ok {
				line += " = " + first
			}
			inodes[st.Ino] = rel
		}
		if d.Type()&fs.ModeSymlink == 0 {
			line += xattrs(t, p)
		}
		got[rel] = line
		return nil
	}))
	return got
}

func xattrs(t *testing.T, p string) string {
	t.Helper()
	list, value := make([]byte, 4096), make([]byte, 4096)
	n, err := unix.Llistxattr(p, list)
	must(t, err)
	text := ""
	names := strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00")
	slices.Sort(names)
	for _, name := range names {
		if name != "" {
			n, err := unix.Lgetxattr(p, name, value)
			must(t, err)
			text += " " + name + "=" + hex.EncodeToString(value[:n])
		}
	}
	return text
}
