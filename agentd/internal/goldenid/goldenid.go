// Package goldenid tells golden images apart: by the bytes of their archives, and
// by when they were made. Call [Of] for an archive, [Host.ID] for the one that new
// guests are made from, and [ID.Compare] for both. It reads the ends of an
// archive only, which is enough to recognise it and no proof of what is in it.
package goldenid

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// ID is what is known of the archive that a golden image is in. The zero ID is
// that of an unknown one.
type ID struct {
	Made time.Time `json:"made,omitzero"` // by its name, or else by the time of its file
	// Print is a digest of size, beginning and end of the archive; "" for a
	// volume of PVE, whose name is unique.
	Print string `json:"print,omitempty"`
	Line  int    `json:"line,omitempty"` // VMID in its name, which images of one kind share; 0: unknown
}

// Age is how the image of a guest relates to that of its host.
type Age string

// The ages.
const (
	Unknown Age = ""      // nothing can be said
	Same    Age = "same"  // the guest was made from it
	Older   Age = "older" // the guest's was made before it
	Other   Age = "other" // a later or another kind of image, or one that cannot be placed
)

// Compare returns how id, of a guest, relates to host.
func (id ID) Compare(host ID) Age {
	switch {
	case id == ID{} || host == ID{}:
		return Unknown
	case id.Print != "" && id.Print == host.Print:
		return Same
	case id.Line != 0 && host.Line != 0 && id.Line != host.Line:
		return Other
	case id.Made.IsZero() || host.Made.IsZero():
		return Unknown
	case id.Made.Before(host.Made):
		return Older
	case id.Made.Equal(host.Made) && (id.Print == "" || host.Print == ""):
		return Same
	}
	return Other
}

// edge is how much of each end of an archive is read.
const edge = 1 << 20

// Named returns what the name of an archive says: a path, or a volume of PVE such
// as local:backup/vzdump-lxc-….tar.zst.
func Named(archive string) ID {
	_, path, isVolume := strings.Cut(archive, ":")
	if !isVolume || filepath.IsAbs(archive) {
		path = archive
	}
	name, err := vzdump.ParseName(filepath.Base(path))
	if err != nil {
		return ID{}
	}
	return ID{Made: name.Time, Line: name.VMID}
}

// Of returns the ID of an archive. Of a volume of PVE it knows what the name says.
func Of(archive string) (ID, error) {
	if !filepath.IsAbs(archive) {
		return Named(archive), nil
	}
	f, err := regular.Open(archive)
	if err != nil {
		return ID{}, fmt.Errorf("golden image: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return ID{}, errors.Join(fmt.Errorf("golden image: %w", err), f.Close())
	}
	sum := sha256.New()
	size := info.Size()
	fmt.Fprintf(sum, "%d\n", size)
	_, err = io.Copy(sum, io.NewSectionReader(f, 0, min(edge, size)))
	if err == nil && size > edge {
		_, err = io.Copy(sum, io.NewSectionReader(f, max(edge, size-edge), edge))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return ID{}, fmt.Errorf("golden image: %w", err)
	}
	id := Named(archive)
	if id.Made.IsZero() {
		id.Made = info.ModTime().UTC().Truncate(time.Second)
	}
	id.Print = hex.EncodeToString(sum.Sum(nil))
	return id, nil
}

// Host is the golden image that a host makes guests from. It is safe for
// concurrent use.
type Host struct {
	archive string

	mu    sync.Mutex
	look  chan struct{} // under way, closed when it ends; nil: there is none
	stamp stamp         // of id
	id    ID
}

// stamp is what changes if another file gets the archive's name.
type stamp struct {
	size         int64
	modified     time.Time
	device, node uint64
}

// NewHost returns the image in archive, a path or a volume of PVE. With "" there is no image.
func NewHost(archive string) *Host { return &Host{archive: archive} }

// ID returns what is known of the image, until ctx is done: an archive on a share
// without its server must not hold up a list. An unreadable archive is unknown.
func (h *Host) ID(ctx context.Context) ID {
	if h == nil || h.archive == "" {
		return ID{}
	}
	h.mu.Lock()
	look := h.look
	if look == nil {
		look = make(chan struct{})
		h.look = look
		go h.read(look)
	}
	h.mu.Unlock()
	select {
	case <-look:
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id
}

// read looks at the archive, and reads it if it is another one than before.
func (h *Host) read(done chan struct{}) {
	found, err := stampOf(h.archive)
	h.mu.Lock()
	id, isKnown := h.id, err == nil && found == h.stamp && h.id != ID{}
	h.mu.Unlock()
	if !isKnown {
		id, _ = Of(h.archive) // the zero ID then
	}
	h.mu.Lock()
	h.id, h.stamp, h.look = id, found, nil
	h.mu.Unlock()
	close(done)
}

func stampOf(archive string) (stamp, error) {
	if !filepath.IsAbs(archive) {
		return stamp{}, nil
	}
	info, err := os.Stat(archive)
	if err != nil {
		return stamp{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, fs.ErrInvalid
	}
	return stamp{info.Size(), info.ModTime(), st.Dev, st.Ino}, nil
}
