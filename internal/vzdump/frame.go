package vzdump

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
	"time"
)

// Members records what the frames written so far contain. The rules of the
// format apply to the whole archive, so all its frames share one.
type Members struct {
	tree tree
	any  bool
	prev string // of the current sorted run
}

// NewMembers begins an archive.
func NewMembers() *Members { return &Members{tree: newTree()} }

// Add records a member of a frame that was written earlier and is spliced in,
// under the same rules as [Frame.Add].
func (m *Members) Add(e *Entry) error {
	if err := m.check(e); err != nil {
		return err
	}
	m.tree.set(e.Path, heldBy(e.Type))
	m.any = true
	m.prev = e.Path
	return nil
}

// check compares e with the rules of the format.
func (m *Members) check(e *Entry) error {
	if err := checkWritable(e.Path); err != nil {
		return err
	}
	config := isConfigMember(e.Path)
	switch {
	case !m.any && e.Path != ConfigPath:
		return fmt.Errorf("the first member is %q, want %q", e.Path, ConfigPath)
	case m.tree.get(e.Path) != 0:
		return fmt.Errorf("%q exists already", e.Path)
	case e.Type < File || e.Type > Link:
		return fmt.Errorf("%q is a %s: want a file, directory, symlink or hard link", e.Path, e.Type)
	case e.Path == "." && e.Type != Dir:
		return fmt.Errorf("the root is a %s", e.Type)
	case strings.HasPrefix(e.Path, "dev/"):
		return fmt.Errorf("%q is below dev, which restore leaves out", e.Path)
	case e.UID < 0 || e.UID > MaxID || e.GID < 0 || e.GID > MaxID:
		return fmt.Errorf("%q belongs to %d:%d, want ids from 0 to %d: restore into an unprivileged guest fails on others", e.Path, e.UID, e.GID, MaxID)
	case e.Mode > 0o7777:
		return fmt.Errorf("%q has mode %#o, want permission bits only", e.Path, e.Mode)
	case e.Type == Link && m.tree.get(e.Link) != heldFile:
		return fmt.Errorf("%q is a hard link to %q, which is no earlier file", e.Path, e.Link)
	case e.Type == Symlink && e.Link == "":
		return fmt.Errorf("%q is a symlink to nothing", e.Path)
	case e.Type != File && e.Size != 0:
		return fmt.Errorf("%q is a %s of %d bytes", e.Path, e.Type, e.Size)
	}
	if (e.Path == "." || e.Path == "etc") && (e.Mode != 0o755 || e.UID != 0 || e.GID != 0) {
		return fmt.Errorf("%q is %04o %d:%d, want 0755 0:0: restore makes it so, whatever the archive says", e.Path, e.Mode, e.UID, e.GID)
	}
	for name := range e.Xattrs {
		if !IsRestoredXattr(name) {
			return fmt.Errorf("%q has the attribute %s: restore keeps user.* and %s only", e.Path, name, CapabilityXattr)
		}
	}
	if config {
		return nil
	}
	return m.tree.parents(e.Path, func(dir string, id uint64) error {
		if m.tree.at[id] != heldDir {
			return fmt.Errorf("%q comes before its directory %q", e.Path, dir)
		}
		return nil
	})
}

// Frame writes members into its own zstd frames, one for each chunk of the
// setting's size. Several Frames in sequence make one archive; only the last
// may end with Finish.
type Frame struct {
	members *Members
	epoch   time.Time
	zstd    *chunkWriter
	tar     *tar.Writer
	content int64
	buf     []byte // shared by all members, because one for each would be most of the memory
}

// NewFrame begins a frame on w, which the caller closes. Times after epoch
// become epoch (SOURCE_DATE_EPOCH).
func NewFrame(w io.Writer, setting Setting, epoch time.Time, members *Members) (*Frame, error) {
	enc, err := setting.encoder(w)
	if err != nil {
		return nil, err
	}
	return &Frame{members: members, epoch: epoch, zstd: enc, tar: tar.NewWriter(enc)}, nil
}

// Add writes one member. The content must have exactly e.Size bytes, and may be
// nil if there are none. A member that is not allowed leaves the frame as it
// was; an error while writing ends it.
func (f *Frame) Add(e *Entry, content io.Reader) error {
	if err := f.members.Add(e); err != nil {
		return err
	}
	if err := f.tar.WriteHeader(f.header(e)); err != nil {
		return fmt.Errorf("write member %q: %w", e.Path, err)
	}
	if e.Size == 0 {
		return nil
	}
	if f.buf == nil {
		f.buf = make([]byte, 128<<10)
	}
	n, err := io.CopyBuffer(f.tar, io.LimitReader(content, e.Size), f.buf)
	f.content += n
	if err == nil && n < e.Size {
		return fmt.Errorf("write member %q: want %d bytes, got %d: it changed while it was read", e.Path, e.Size, n)
	}
	if err != nil {
		return fmt.Errorf("write member %q: %w", e.Path, err)
	}
	return nil
}

// AddConfig writes the members that come before the tree: the guest's
// configuration and an empty firewall file.
func (f *Frame) AddConfig(conf []byte) error {
	e := Entry{Path: ConfigPath, Type: File, Mode: 0o644, Size: int64(len(conf)), ModTime: f.epoch}
	if err := f.Add(&e, strings.NewReader(string(conf))); err != nil {
		return err
	}
	return f.Add(&Entry{Path: FirewallPath, Type: File, Mode: 0o644, ModTime: f.epoch}, nil)
}

// Close ends the frame and lets the archive continue in the next one.
func (f *Frame) Close() error { return f.end(f.tar.Flush()) }

// Finish ends the frame and the archive.
func (f *Frame) Finish() error { return f.end(f.tar.Close()) }

// Abandon ends a frame that is not needed any more, and is quicker than Close.
// Nothing is written after it, nor after an error of Close or Finish.
func (f *Frame) Abandon() { f.zstd.abandon() }

func (f *Frame) end(err error) error {
	if err != nil {
		f.Abandon()
		return err
	}
	return f.zstd.Close()
}

// Content returns the bytes of file content in the frame so far.
func (f *Frame) Content() int64 { return f.content }

func (f *Frame) header(e *Entry) *tar.Header {
	hdr := &tar.Header{
		Format: tar.FormatPAX, Name: "./" + e.Path, Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID, Size: e.Size,
		ModTime: clampTime(e.ModTime, f.epoch),
	}
	switch e.Type {
	case Dir:
		hdr.Typeflag = tar.TypeDir
		hdr.Name += "/"
		if e.Path == "." {
			hdr.Name = "./"
		}
	case Symlink:
		hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, e.Link
	case Link:
		hdr.Typeflag, hdr.Linkname = tar.TypeLink, "./"+e.Link
	default:
		hdr.Typeflag = tar.TypeReg
	}
	for name, value := range e.Xattrs {
		if hdr.PAXRecords == nil {
			hdr.PAXRecords = map[string]string{}
		}
		hdr.PAXRecords[xattrPrefix+escapeXattr.Replace(name)] = value
	}
	return hdr
}

// clampTime returns t in whole seconds, limited to the time from 1970 to epoch.
func clampTime(t, epoch time.Time) time.Time {
	if t.After(epoch) {
		t = epoch
	}
	return time.Unix(max(t.Unix(), 0), 0).UTC()
}
