// Package mountinfo reads the kernel's list of a process's mounts,
// proc_pid_mountinfo(5): call [Parse] with the text of /proc/self/mountinfo.
package mountinfo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mount is one line of the list.
type Mount struct {
	ID     uint64 // as statx(2) returns it
	Device string // major:minor
	Root   string // the mounted directory within its file system; ends with "//deleted" if it was removed since
	Point  string // where the process sees it
	Type   string // of the file system: ext4
}

// Parse returns the mounts of a list in its order, which is that of mounting.
func Parse(text string) ([]Mount, error) {
	const id, device, root, point, options = 0, 2, 3, 4, 6 // any number of options, then "-", then the type
	var all []Mount
	for line := range strings.Lines(text) {
		// The kernel escapes this separator alone: what else is white space may be in a
		// name, and would let who mounts choose the fields behind it.
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(fields) <= point {
			return nil, fmt.Errorf("list of mounts: cannot read the line %q", line)
		}
		number, err := strconv.ParseUint(fields[id], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("list of mounts: cannot read the line %q: %w", line, err)
		}
		all = append(all, Mount{ID: number, Device: fields[device], Root: unescape(fields[root]), Point: unescape(fields[point]), Type: typeOf(fields[min(options, len(fields)):])})
	}
	return all, nil
}

func typeOf(fields []string) string {
	if i := slices.Index(fields, "-"); i >= 0 && i+1 < len(fields) {
		return unescape(fields[i+1])
	}
	return ""
}

// escapes are the bytes that the kernel writes as octal numbers.
var escapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#", `\134`, `\`)

func unescape(path string) string { return escapes.Replace(path) }

// Below returns the mount points at dir and below it, in the order of the list.
func Below(list []Mount, dir string) (points []string) {
	below := strings.TrimSuffix(dir, "/") + "/"
	for _, m := range list {
		if m.Point == dir || strings.HasPrefix(m.Point, below) {
			points = append(points, m.Point)
		}
	}
	return points
}
