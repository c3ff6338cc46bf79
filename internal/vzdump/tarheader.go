package vzdump

import (
	"bytes"
	"strconv"
	"time"
)

// block is the unit of a tar stream.
const block = 512

// Fields of a ustar header (POSIX.1-1988): offset and length.
var (
	fieldName     = field{0, 100}
	fieldMode     = field{100, 8}
	fieldUID      = field{108, 8}
	fieldGID      = field{116, 8}
	fieldSize     = field{124, 12}
	fieldTime     = field{136, 12}
	fieldChecksum = field{148, 8}
	fieldLink     = field{157, 100}
	fieldUname    = field{265, 32}
	fieldGname    = field{297, 32}
	fieldMajor    = field{329, 8}
	fieldMinor    = field{337, 8}
	fieldPrefix   = field{345, 155}
	fieldRest     = field{500, 12}
)

const (
	typeflagAt = 156
	magicAt    = 257
	magicUSTAR = "ustar\x0000"
	// typeExtended is a pax header for the next member.
	typeExtended = 'x'
)

type field struct{ at, size int }

func (f field) of(b *[block]byte) []byte { return b[f.at : f.at+f.size] }

// tarHeader is a member as its header and records describe it. [Reader.entry]
// fills the fields of Entry that follow from these and from other members.
type tarHeader struct {
	Entry
	flag    byte
	records map[string]string
	sparse  bool
}

// typesByFlag are the members of the format; '0' is the only regular file.
var typesByFlag = map[byte]Type{'0': File, '1': Link, '2': Symlink, '3': Char, '4': Block, '5': Dir, '6': Fifo}

// parseHeader reads a header block of the one accepted dialect. It refuses
// whatever readers are known to understand in different ways: other magic
// numbers, signed and binary numbers, text after a NUL byte, star's fields.
func parseHeader(b *[block]byte) (*tarHeader, error) {
	if err := checkSum(b); err != nil {
		return nil, err
	}
	if magic := b[magicAt : magicAt+8]; string(magic) != magicUSTAR {
		return nil, refuse(ErrUnsupported, "", "its header has the magic number %q, want %q: only the POSIX (pax) dialect is read", magic, magicUSTAR)
	}
	p := fieldParser{b: b}
	h := &tarHeader{flag: b[typeflagAt], Entry: Entry{
		RawName: p.text(fieldName, "name"), RawLink: p.text(fieldLink, "link name"), Mode: uint32(p.octal(fieldMode, "mode")),
		UID: int(p.octal(fieldUID, "user id")), GID: int(p.octal(fieldGID, "group id")), Size: p.octal(fieldSize, "size"),
		ModTime: time.Unix(p.octal(fieldTime, "time"), 0), Uname: p.text(fieldUname, "user name"), Gname: p.text(fieldGname, "group name"),
		DevMajor: p.device(fieldMajor), DevMinor: p.device(fieldMinor),
	}}
	if prefix := p.text(fieldPrefix, "name prefix"); prefix != "" {
		h.RawName = prefix + "/" + h.RawName
	}
	if rest := p.text(fieldRest, "padding"); rest != "" {
		p.fail("padding", fieldRest, "not empty")
	}
	if h.Mode > 0o7777 {
		p.fail("mode", fieldMode, "more than 7777")
	}
	return h, p.err
}

func checkSum(b *[block]byte) error {
	sum := int64(8 * ' ')
	for i, c := range b {
		if i < fieldChecksum.at || i >= fieldChecksum.at+fieldChecksum.size {
			sum += int64(c)
		}
	}
	p := fieldParser{b: b}
	if got := p.octal(fieldChecksum, "checksum"); p.err != nil || got != sum {
		return refuse(ErrCorrupt, "", "not a tar header: its checksum is %q, want %o", bytes.TrimRight(fieldChecksum.of(b), "\x00 "), sum)
	}
	return nil
}

// fieldParser keeps the first error.
type fieldParser struct {
	b   *[block]byte
	err error
}

func (p *fieldParser) fail(what string, f field, why string) {
	if p.err == nil {
		p.err = refuse(ErrUnsupported, "", "the %s in its header, %q, is %s: readers of tar understand it in different ways", what, bytes.TrimRight(f.of(p.b), "\x00"), why)
	}
}

// text reads a field that ends at its first NUL byte, with nothing after it.
func (p *fieldParser) text(f field, what string) string {
	raw := bytes.TrimRight(f.of(p.b), "\x00")
	if bytes.IndexByte(raw, 0) >= 0 {
		p.fail(what, f, "text after a NUL byte")
	}
	return string(raw)
}

// octal reads digits that fill the field from its start, and at least one NUL
// byte or space after them.
func (p *fieldParser) octal(f field, what string) int64 {
	raw := f.of(p.b)
	digits := bytes.TrimRight(raw, "\x00 ")
	n, err := strconv.ParseUint(string(digits), 8, 63)
	if err != nil || len(digits) == len(raw) || digits[0] < '0' || digits[0] > '7' {
		p.fail(what, f, "not an unsigned octal number")
		return 0
	}
	return int64(n)
}

// device reads a device number; GNU tar leaves both empty in some headers.
func (p *fieldParser) device(f field) int64 {
	if len(bytes.Trim(f.of(p.b), "\x00")) == 0 {
		return 0
	}
	return p.octal(f, "device number")
}
