package vzdump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// header returns a tar header whose name begins with start, which is also the
// start of a packed stream, with the checksum of its bytes as they count.
func header(start []byte, signed bool, form string) []byte {
	b := make([]byte, 512)
	copy(b, start)
	copy(b[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00        0")
	copy(b[257:], "ustar\x0000")
	sum := 0
	for _, c := range b {
		if signed {
			sum += int(int8(c))
		} else {
			sum += int(c)
		}
	}
	copy(b[148:], fmt.Sprintf(form, sum))
	return b
}

// A file can be a plain tar and a packed one at once. GNU tar takes it for a plain
// one if its name ends in .tar, and its pct.conf is another then.
func TestPackedArchiveThatIsAPlainTarToo(t *testing.T) {
	outer := makeTar(t, good()...)
	inner := makeTar(t, good()...)
	size := binary.LittleEndian.AppendUint32(nil, uint32(512+len(outer)-8))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(inner)
	must(t, errors.Join(err, w.Close()))
	length := binary.LittleEndian.AppendUint16(nil, uint16(512+len(outer)-12))
	for _, form := range []string{"%06o\x00 ", " %o \x00", "\x00%06o ", "%07o\x00"} {
		for _, signed := range []bool{false, true} {
			skippable := append(header(append([]byte{0x5e, 0x2a, 0x4d, 0x18}, size...), signed, form), outer...)
			extra := append(header(append([]byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff}, length...), signed, form), outer...)
			for name, data := range map[string][]byte{
				"zstd": append(skippable, packZstd(t, inner)...),
				"gzip": append(extra, packed.Bytes()[10:]...),
			} {
				if _, err := vzdump.NewReader(bytes.NewReader(data), vzdump.Limits{}); !errors.Is(err, vzdump.ErrUnsupported) {
					t.Errorf("%s, checksum %q, signed %v: %v, want ErrUnsupported", name, form, signed, err)
				}
			}
		}
	}
}

func TestCompressionByName(t *testing.T) {
	for _, tt := range []struct {
		is   vzdump.Compression
		name string
		ok   bool
	}{
		{vzdump.Zstd, "/a/x.tar.zst", true},
		{vzdump.Gzip, "x.tar.gz", true},
		{vzdump.None, "x.tar", true},
		{vzdump.None, "/x.tar.gz/y.tar", true},
		{vzdump.Zstd, "a.tar.b.tar.zst", true},
		{vzdump.Gzip, "a.tar.zst.tar.gz", true},
		{vzdump.None, "a.tar.zst.tar", true},
		{vzdump.Zstd, "x.tar", false},
		{vzdump.Zstd, "x.tar.old", false},
		{vzdump.None, "x.tar.tar", false},
		{vzdump.Zstd, "x.tar.gz", false},
		{vzdump.Gzip, "x.tar", false},
		{vzdump.Gzip, "x.tar.zst", false},
		{vzdump.None, "x.tar.zst", false},
		{vzdump.None, "x.tar.lzo", false},
	} {
		err := tt.is.CheckName(tt.name)
		if (err == nil) != tt.ok || err != nil && strings.Contains(err.Error(), "says :") {
			t.Errorf("%s as %s: %v", tt.is, tt.name, err)
		}
	}
}
