package vzdump

import (
	"hash/maphash"
	"strings"
)

// maxComponent is NAME_MAX: no Linux file system stores a longer one.
const maxComponent = 255

// cleanPath turns a raw member name, or hard link target, into a Path. It
// refuses what would leave the tree; what is merely odd it reports.
func cleanPath(raw string, limit int) (path string, odd Oddity, err error) {
	switch {
	case raw == "":
		return "", 0, refuse(ErrCorrupt, "", "a member without a name")
	case len(raw) > limit:
		return "", 0, refuse(ErrLimit, raw[:64]+"...", "the name has %d bytes, at most %d are taken", len(raw), limit)
	case raw[0] == '/':
		return "", 0, refuse(ErrEscape, raw, "an absolute name")
	case strings.IndexByte(raw, 0) >= 0:
		return "", 0, refuse(ErrCorrupt, raw, "a NUL byte in the name")
	}
	rest, dotted := strings.CutPrefix(raw, "./")
	if !dotted && raw != "." {
		odd |= NoDotSlash
		rest = raw
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest == "" || rest == "." {
		return ".", odd, nil
	}
	if hasControl(raw) {
		odd |= ControlChars
	}
	parts := strings.Split(rest, "/")
	kept := parts[:0]
	for _, part := range parts {
		switch {
		case part == "" || part == ".":
			odd |= NotClean
		case part == "..":
			return "", 0, refuse(ErrEscape, raw, `".." in the name`)
		case len(part) > maxComponent:
			return "", 0, refuse(ErrLimit, raw[:64]+"...", "a component of the name has %d bytes, at most %d are possible", len(part), maxComponent)
		default:
			kept = append(kept, part)
		}
	}
	if len(kept) == 0 {
		return ".", odd, nil
	}
	return strings.Join(kept, "/"), odd, nil
}

func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0
}

// comparePaths orders paths as members are ordered: depth first, names in a
// folder by their bytes. Plain string order would put "a-b" before "a/b".
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
// the root first, depth first, the names in a folder by their bytes.
func ComparePaths(a, b string) int { return comparePaths(a, b) }

// held is what the tree holds at a path, as far as the members so far tell.
type held uint8

const (
	heldImplied held = iota + 1 // a directory without a member of its own
	heldDir
	heldFile // anything that a hard link can point to
	heldSymlink
)

// tree remembers, by hash, what each path is. Hashes keep memory bounded
// whatever the names are; the seed is random, so that no one can prepare a
// collision, and an accidental one has a chance of 2^-26 at the default limit
// of entries.
type tree struct {
	seed maphash.Seed
	at   map[uint64]held
}

func newTree() tree {
	return tree{seed: maphash.MakeSeed(), at: map[uint64]held{}}
}

func (t *tree) get(path string) held { return t.at[maphash.String(t.seed, path)] }

func (t *tree) set(path string, h held) { t.at[maphash.String(t.seed, path)] = h }

// parents calls f with each directory above path, the outermost first; "." is
// left out.
func parents(path string, f func(dir string) error) error {
	for i := range len(path) {
		if path[i] == '/' {
			if err := f(path[:i]); err != nil {
				return err
			}
		}
	}
	return nil
}
