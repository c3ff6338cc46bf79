package vzdump

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Compression is how the tar stream is packed.
type Compression string

// The compressions that are read. PVE also writes lzo, which is refused.
const (
	Zstd Compression = "zstd"
	Gzip Compression = "gzip"
	None Compression = "none"

	lzo   Compression = "lzo"
	bzip2 Compression = "bzip2"
	xz    Compression = "xz"
)

var bySuffix = map[string]Compression{"zst": Zstd, "gz": Gzip, "lzo": lzo, "bz2": bzip2, "xz": xz}

// CheckName returns an error if the end of an archive's name stands for another
// compression: PVE goes by the name alone.
func (c Compression) CheckName(name string) error {
	base := filepath.Base(name)
	end := filepath.Ext(base)
	want, known := None, true
	if strings.HasSuffix(strings.TrimSuffix(base, end), ".tar") { // a.tar.b.tar.zst is packed once
		want, known = bySuffix[strings.TrimPrefix(end, ".")]
	}
	switch {
	case !known:
		return fmt.Errorf("the archive's compression is %s, and the end of its name, %s, stands for none: restore goes by the name alone", c, end)
	case c != want:
		return fmt.Errorf("the archive's compression is %s, and the end of its name says %s: restore goes by the name alone", c, want)
	}
	return nil
}

// Facts is what a [Reader] found out about the whole archive. It is complete
// once Next has returned io.EOF; Complete is true then.
type Facts struct {
	Complete    bool
	Compression Compression
	Packed      int64 // bytes read from the source
	Unpacked    int64 // bytes of tar stream
	Content     int64 // bytes of file content, holes included
	Entries     int
	Implied     int // directories without their own member before their content

	// Frames are the zstd frames, the first [maxFrameFacts] of them in order;
	// FrameCount counts all.
	Frames     []FrameFacts
	FrameCount int
	Skippable  int   // skippable frames: bytes that no decoder looks at
	NoChecksum int   // frames without content checksum
	Window     int64 // the largest window

	Runs int    // sorted runs of members: 1 if all are in order, config members not counted
	Odd  Oddity // of any member
}

// FrameFacts is the header of one zstd frame.
type FrameFacts struct {
	Offset      int64 // of its magic number in the archive
	Window      int64 // bytes; the content size for a single-segment frame
	ContentSize int64 // bytes unpacked, -1 if the header does not have it
	Checksum    bool
	Skippable   bool
}

// maxFrameFacts bounds the memory for an archive of tiny frames.
const maxFrameFacts = 256
