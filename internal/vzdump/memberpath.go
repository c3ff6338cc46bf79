package vzdump

import (
	"hash/maphash"
	"strings"
)

// maxComponent is NAME_MAX: no Linux file system stores a longer one.
const maxComponent = 255

// maxDepth bounds the directories in a name; real trees have a few dozen.
const maxDepth = 256

// cleanPath turns a raw member name, or hard link target, into a Path. It
// accepts one way to write a path: "./" and names with a slash between them,
// and a slash at the end of a directory. It refuses all others, because
// programs that compare names, as PVE does, do not recognize them as the same
// path.
func cleanPath(raw string, limit int, dir bool) (path string, odd Oddity, err error) {
	switch {
	case raw == "":
		return "", 0, refuse(ErrCorrupt, "", "a member without a name")
	case len(raw) > limit:
		return "", 0, refuse(ErrLimit, raw[:64]+"...", "the name has %d bytes, which exceeds the limit of %d", len(raw), limit)
	case raw[0] == '/':
		return "", 0, refuse(ErrEscape, raw, "an absolute name")
	case strings.IndexByte(raw, 0) >= 0:
		return "", 0, refuse(ErrCorrupt, raw, "a NUL byte in the name")
	}
	if strings.Contains("/"+raw+"/", "/../") {
		return "", 0, refuse(ErrEscape, raw, `".." in the name`)
	}
	if hasControl(raw) {
		odd |= ControlChars
	}
	if raw == "./" {
		return ".", odd, nil
	}
	rest, dotted := strings.CutPrefix(raw, "./")
	if !dotted {
		return "", 0, refuse(ErrUnsupported, raw, `the name does not begin with "./": PVE compares names with that`)
	}
	rest, slash := strings.CutSuffix(rest, "/")
	if slash != dir {
		return "", 0, refuse(ErrUnsupported, raw, "want a slash at the end of the name of each directory, and of nothing else")
	}
	depth := 0
	for part := range strings.SplitSeq(rest, "/") {
		switch depth++; {
		case part == "" || part == ".":
			return "", 0, refuse(ErrUnsupported, raw, `the name is not clean: it has an empty or "." element, and PVE does not see what it stands for`)
		case len(part) > maxComponent:
			return "", 0, refuse(ErrLimit, raw[:64]+"...", "an element of the name has %d bytes, which exceeds the limit of %d", len(part), maxComponent)
		case depth > maxDepth:
			return "", 0, refuse(ErrLimit, raw[:64]+"...", "the name exceeds the limit of %d elements", maxDepth)
		}
	}
	return rest, odd, nil
}

func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0
}

// comparePaths orders paths as members are ordered: depth first, names in a
// directory by their bytes. Plain string order would put "a-b" before "a/b".
func comparePaths(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == ".":
		return -1
	case b == ".":
		return 1
	}
	n := min(len(a), len(b))
	for i := range n {
		ca, cb := a[i], b[i]
		switch {
		case ca == cb:
			continue
		case ca == '/':
			return -1
		case cb == '/':
			return 1
		case ca < cb:
			return -1
		}
		return 1
	}
	if len(a) < len(b) {
		return -1
	}
	return 1
}

// ComparePaths orders two Paths as a canonical archive orders its members:
// the root first, depth first, the names in a directory by their bytes.
func ComparePaths(a, b string) int { return comparePaths(a, b) }

// held describes what the tree has at a path after the members so far.
type held uint8

const (
	heldImplied held = iota + 1 // a directory without a member of its own
	heldDir
	heldHeir // a directory that gives its group or access control list to what is created in it
	heldFile // anything that a hard link can point to
	heldSymlink
)

// tree remembers by hash what each path is. Hashes bound the memory for any
// names; the seed is random, so that a collision cannot be prepared, and an
// accidental one has a chance of 2^-26 at the default limit of entries.
type tree struct {
	seed maphash.Seed
	at   map[uint64]held
}

func newTree() tree {
	return tree{seed: maphash.MakeSeed(), at: map[uint64]held{}}
}

func (t *tree) get(path string) held { return t.at[maphash.String(t.seed, path)] }

func (t *tree) set(path string, h held) { t.at[maphash.String(t.seed, path)] = h }

// parents calls f with each directory above path and its key in the tree, the
// outermost first; "." is left out. It hashes each byte once, however deep.
func (t *tree) parents(path string, f func(dir string, id uint64) error) error {
	var h maphash.Hash
	h.SetSeed(t.seed)
	done := 0
	for i := range len(path) {
		if path[i] == '/' {
			_, _ = h.WriteString(path[done:i]) // never fails
			done = i
			if err := f(path[:i], h.Sum64()); err != nil {
				return err
			}
		}
	}
	return nil
}
