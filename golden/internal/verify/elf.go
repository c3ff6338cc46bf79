package verify

import (
	"bytes"
	"debug/elf"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/image"
)

// binary is what is known of one ELF file.
type binary struct {
	Path    string
	Bad     string // why it could not be read, or ""
	Machine elf.Machine
	Interp  string   // the loader; "" when it is static or a library
	Needed  []string // libraries by name
	Dynamic bool     // has a dynamic section
	Partial bool     // the needed libraries are out of reach of one pass

	of *image.Entry // nil if it comes from an earlier pass
}

// dynamicTap catches the bytes of the dynamic section as they pass.
type dynamicTap struct {
	at         int64 // offset of the next byte
	start, end int64
	buf        []byte
}

// want learns from a file's head where its dynamic section is.
func (t *dynamicTap) want(head []byte) {
	f, err := openELF(head)
	if err != nil {
		return
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_DYNAMIC && p.Filesz <= 64<<10 {
			t.start, t.end = int64(p.Off), int64(p.Off+p.Filesz)
		}
	}
	if t.start < int64(len(head)) && t.end > t.start {
		t.buf = append(t.buf, head[t.start:min(t.end, int64(len(head)))]...)
	}
}

func (t *dynamicTap) Write(p []byte) (int, error) {
	from, to := max(t.start-t.at, 0), min(t.end-t.at, int64(len(p)))
	if from < to {
		t.buf = append(t.buf, p[from:to]...)
	}
	t.at += int64(len(p))
	return len(p), nil
}

// openELF reads header and segments. The section table, at the end of the
// file, is cut out of the header: nothing here needs it, and the head has none.
func openELF(head []byte) (*elf.File, error) {
	h := bytes.Clone(head[:min(len(head), 64<<10)])
	if len(h) > 63 {
		switch elf.Class(h[elf.EI_CLASS]) {
		case elf.ELFCLASS64:
			clear(h[0x28:0x30])
			clear(h[0x3a:0x40])
		case elf.ELFCLASS32:
			clear(h[0x20:0x24])
			clear(h[0x2e:0x34])
		}
	}
	return elf.NewFile(bytes.NewReader(h))
}

func readELF(path string, head []byte, tap *dynamicTap) binary {
	b := binary{Path: path}
	f, err := openELF(head)
	if err != nil {
		b.Bad = err.Error()
		return b
	}
	b.Machine = f.Machine
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Off+p.Filesz <= uint64(len(head)) && p.Filesz < 4096 && p.Off < uint64(len(head)) {
			b.Interp = strings.TrimRight(string(head[p.Off:p.Off+p.Filesz]), "\x00")
		}
	}
	if len(tap.buf) == 0 {
		return b
	}
	b.Dynamic = true
	b.Needed, b.Partial = needed(f, head, tap.buf)
	return b
}

// needed reads the DT_NEEDED names out of a dynamic section. partial is true
// when the string table is not in the head.
func needed(f *elf.File, head, dynamic []byte) (names []string, partial bool) {
	word := 8
	if f.Class == elf.ELFCLASS32 {
		word = 4
	}
	read := func(b []byte) uint64 {
		if word == 4 {
			return uint64(f.ByteOrder.Uint32(b))
		}
		return f.ByteOrder.Uint64(b)
	}
	var offsets []uint64
	var table uint64
	for d := dynamic; len(d) >= 2*word; d = d[2*word:] {
		switch elf.DynTag(read(d)) { //nolint:exhaustive // two of the tags matter
		case elf.DT_NEEDED:
			offsets = append(offsets, read(d[word:]))
		case elf.DT_STRTAB:
			table = read(d[word:])
		}
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && table >= p.Vaddr && table < p.Vaddr+p.Filesz {
			table = table - p.Vaddr + p.Off
			break
		}
	}
	for _, off := range offsets {
		at := table + off
		if at >= uint64(len(head)) || at < table {
			return names, true
		}
		name, _, ok := bytes.Cut(head[at:], []byte{0})
		if !ok || len(name) > 255 {
			return names, true
		}
		names = append(names, string(name))
	}
	return names, false
}
