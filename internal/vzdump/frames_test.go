package vzdump_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// textTar is a tar with a file of some blocks that pack to literals,
// sequences and repeated offsets.
func textTar(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	data := make([]byte, 300_000)
	_, err := io.ReadFull(newText(), data)
	must(t, err)
	must(t, w.WriteHeader(&tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: "./f", Mode: 0o644, Size: int64(len(data)), ModTime: day}))
	_, err = w.Write(data)
	must(t, errors.Join(err, w.Close()))
	return b.Bytes()
}

// digest describes all that a Reader gives: members and their content.
func digest(data []byte) (string, error) {
	ar, err := vzdump.NewReader(bytes.NewReader(data), vzdump.Limits{})
	if err != nil {
		return "", err
	}
	defer ar.Close()
	h := sha256.New()
	for {
		e, err := ar.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("%x", h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %s %d\n", e.RawName, e.Type, e.Size)
		if _, err := io.Copy(h, ar); err != nil {
			return "", err
		}
	}
}

// sameAsProgram reports whether the Reader accepts packed; if so, the program
// that tar starts must accept it too, and give the same stream.
func sameAsProgram(t *testing.T, packed []byte, program string) bool {
	t.Helper()
	got, err := digest(packed)
	if err != nil {
		if fault.Of(err) != fault.Invalid {
			t.Errorf("error %v, want a refusal", err)
		}
		return false
	}
	cmd := exec.CommandContext(t.Context(), program, "-d", "-c")
	cmd.Stdin = bytes.NewReader(packed)
	plain, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v, and the Reader accepts it", program, err)
		return true
	}
	if want, err := digest(plain); err != nil || got != want {
		t.Errorf("%s and the Reader give different streams (%v)", program, err)
	}
	return true
}

// rawFrame is a zstd frame of one raw block: a descriptor and the header's
// other bytes, and the content.
func rawFrame(descriptor byte, header, content []byte) []byte {
	b := append([]byte{0x28, 0xb5, 0x2f, 0xfd, descriptor}, header...)
	for len(content) > 100_000 {
		b = append(b, byte(100_000<<3&0xff), byte(100_000<<3>>8&0xff), byte(100_000<<3>>16))
		b = append(b, content[:100_000]...)
		content = content[100_000:]
	}
	n := len(content)<<3 | 1
	return append(append(b, byte(n), byte(n>>8), byte(n>>16)), content...)
}

func skippable(kind byte, size uint32, content string) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{0x50 | kind, 0x2a, 0x4d, 0x18}, size), content...)
}

func TestReadsFramesAsZstdOrRefuses(t *testing.T) {
	plain := textTar(t)
	packed := packZstd(t, plain)
	unsummed := packZstd(t, plain, zstd.WithEncoderCRC(false))
	size := func(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
	window := []byte{10 << 3} // 1 MiB
	for _, c := range []struct {
		name string
		data []byte
		take bool
	}{
		{"one frame", packed, true},
		{"two frames", slices.Concat(packZstd(t, plain[:1000]), packZstd(t, plain[1000:])), true},
		{"empty frames", slices.Concat(packZstd(t, nil, zstd.WithZeroFrames(true)), packed, packZstd(t, nil, zstd.WithZeroFrames(true))), true},
		{"skippable first", slices.Concat(skippable(0, 3, "abc"), packed), true},
		{"skippable of another kind", slices.Concat(skippable(15, 3, "abc"), packed), true},
		{"skippable last", slices.Concat(packed, skippable(0, 3, "abc")), true},
		{"skippable between", slices.Concat(packZstd(t, plain[:1000]), skippable(0, 0, ""), packZstd(t, plain[1000:])), true},
		{"raw, size", rawFrame(0xa0, size(len(plain)), plain), true},
		{"raw, window", rawFrame(0, window, plain), true},
		{"raw, dictionary 0", rawFrame(0x01, append(window, 0), plain), true},

		{"skippable cut", slices.Concat(packed, skippable(0, 30, "abc")), false},
		{"skippable with a frame in it", slices.Concat(skippable(0, uint32(len(packed)), ""), packed), false},
		{"skippable alone", skippable(0, 3, "abc"), false},
		{"bytes after the frame", append(slices.Clone(packed), "garbage"...), false},
		{"one byte after the frame", append(slices.Clone(packed), 0), false},
		{"zeros after the frame", append(slices.Clone(packed), make([]byte, 512)...), false},
		{"gzip after the frame", append(slices.Clone(packed), 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0), false},
		{"frame of an old version", append(slices.Clone(packed), 0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0), false},
		{"cut", packed[:len(packed)-1], false},
		{"cut in the last block", unsummed[:len(unsummed)-1], false},
		{"cut after a frame", packZstd(t, plain[:len(plain)-1024]), false},
		{"size too large", rawFrame(0xa0, size(len(plain)+1), plain), false},
		{"size too small", rawFrame(0xa0, size(len(plain)-1), plain), false},
		{"size far too small", rawFrame(0xa0, size(10), plain), false},
		{"size 0", rawFrame(0xa0, size(0), plain), false},
		{"size and window", rawFrame(0x80, append(slices.Clone(window), size(len(plain)-512)...), plain), false},
		{"size of 8 bytes", rawFrame(0xe0, append(size(len(plain)), 0, 0, 0, 0x80), plain), false},
		{"dictionary", rawFrame(0x01, append(slices.Clone(window), 7), plain), false},
		{"dictionary of 4 bytes", rawFrame(0x03, append(slices.Clone(window), 0, 0, 0, 1), plain), false},
		{"reserved bit", rawFrame(0x08, window, plain), false},
		{"block larger than the window", rawFrame(0, []byte{0}, plain), false},
		{"window of 256 MiB", rawFrame(0, []byte{18 << 3}, plain), false},
		{"wrong sum", rawFrame(0x04, window, append(slices.Clone(plain), 1, 2, 3, 4)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := sameAsProgram(t, c.data, "zstd"); got != c.take {
				t.Errorf("accepted: %v, want %v", got, c.take)
			}
		})
	}
}

// TestMutatedFramesReadAsZstdOrAreRefused changes bytes of frames that have no
// sum, at random with a fixed seed.
func TestMutatedFramesReadAsZstdOrAreRefused(t *testing.T) {
	plain := textTar(t)
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same frames in each run
	accepted := 0
	var frames [][]byte
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBestCompression} {
		frames = append(frames, packZstd(t, plain, zstd.WithEncoderCRC(false), zstd.WithEncoderLevel(level), zstd.WithWindowSize(64<<10)))
	}
	for i := range 200 {
		packed := slices.Clone(frames[i%len(frames)])
		at := random.IntN(len(packed))
		if i%2 == 0 { // in the header, or at the start of a block
			at = random.IntN(min(len(packed), 200))
		}
		packed[at] ^= byte(1 + random.IntN(255))
		if sameAsProgram(t, packed, "zstd") {
			accepted++
		}
	}
	if accepted < 10 {
		t.Errorf("%d of 200 accepted, want 10 at least: the test compares too little", accepted)
	}
}

func TestReadsGzipAsGzipOrRefuses(t *testing.T) {
	plain := textTar(t)
	pack := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		must(t, errors.Join(err, w.Close()))
		return b.Bytes()
	}
	packed := pack(plain)
	header := func(flags byte, more ...byte) []byte {
		h := append([]byte{0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3}, more...)
		if flags&2 != 0 {
			h = binary.LittleEndian.AppendUint16(h, uint16(crc32.ChecksumIEEE(h)))
		}
		return append(h, packed[10:]...)
	}
	change := func(at int) []byte {
		b := slices.Clone(packed)
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
	for _, c := range []struct {
		name string
		data []byte
		take bool
	}{
		{"one member", packed, true},
		{"two members", append(pack(plain[:1000]), pack(plain[1000:])...), true},
		{"name", header(8, 'x', 0), true},
		{"bytes after it", append(slices.Clone(packed), "garbage"...), false},
		{"a zero after it", append(slices.Clone(packed), 0), false},
		{"zeros after it", append(slices.Clone(packed), make([]byte, 512)...), false},
		{"zstd after it", append(slices.Clone(packed), packZstd(t, plain)...), false},
		{"sum", change(-8), false},
		{"size", change(-4), false},
		{"encrypted", header(0x20), false},
		{"reserved flags", header(0xc0), false},
		{"method", append([]byte{0x1f, 0x8b, 7}, packed[3:]...), false},
		{"cut", packed[:len(packed)-1], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := sameAsProgram(t, c.data, "gzip"); got != c.take {
				t.Errorf("accepted: %v, want %v", got, c.take)
			}
		})
	}
}
