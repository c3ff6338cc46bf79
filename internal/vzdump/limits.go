package vzdump

// What a [Reader] takes of an archive unless its Limits say otherwise.
const (
	MaxEntries  = 500_000
	MaxUnpacked = 1 << 40
)

// Limits bound what a [Reader] accepts from an untrusted archive. A field that
// is 0 means its default.
type Limits struct {
	Window   int64 // bytes of zstd window; default and most: MaxWindow
	Entries  int   // members, and directories that they imply; default MaxEntries
	Name     int   // bytes of a name or link text; default 4096 (PATH_MAX)
	PAX      int   // bytes of pax records of one member; default 256 KiB
	Unpacked int64 // bytes of content, holes included; default MaxUnpacked, 1 TiB
	Implied  int   // directories without their own member; default 4096
	Texts    int64 // bytes of names, links and attributes of all members; default 256 MiB
	Ratio    int64 // unpacked bytes for each packed one; default 500, not applied to the first 64 MiB
}

// ratioGrace is how many bytes may be unpacked before the ratio counts: the
// start of a normal archive (directories, empty files) packs very well.
const ratioGrace = 64 << 20

func (l Limits) withDefaults() Limits {
	l.Window = orDefault(min(l.Window, MaxWindow), MaxWindow)
	l.Entries = orDefault(l.Entries, MaxEntries)
	l.Name = orDefault(l.Name, 4096)
	l.PAX = orDefault(l.PAX, 256<<10)
	l.Unpacked = orDefault(l.Unpacked, MaxUnpacked)
	l.Implied = orDefault(l.Implied, 4096)
	l.Texts = orDefault(l.Texts, 256<<20)
	l.Ratio = orDefault(l.Ratio, 500)
	return l
}

func orDefault[T int | int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Most returns l lowered to the most that an archive of so many packed bytes
// can reach.
func (l Limits) Most(packed int64) Limits {
	l = l.withDefaults()
	if packed < l.Unpacked/l.Ratio {
		l.Unpacked = min(l.Unpacked, max(ratioGrace, (packed+1)*l.Ratio))
	}
	return l
}
