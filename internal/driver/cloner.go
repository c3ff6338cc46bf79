package driver

import (
	"context"
	"errors"
)

// The ways in which a [Cloner] refuses, beside those of a [Hypervisor].
var (
	ErrNoClone = errors.New("the guest cannot be a linked clone") // final; a Restore may be possible
	ErrInUse   = errors.New("guests use the template")            // final until they are removed
)

// TemplateTag is the tag of each template that FinishTemplate made.
const TemplateTag = "felhom-template"

// Template is a guest that has [TemplateTag]. Its Description identifies it.
type Template struct {
	VMID        int
	Description string
	Storage     string // of its root file system
	IsFinished  bool   // it can be cloned, and is protected
	UsedBy      []int  // guests whose disks name its own; of some storages that is not known
}

// Cloner is what a [Hypervisor] also implements whose guests can be linked
// clones: they share the blocks of a template. Each method that uses, changes or
// removes a guest does so only if its whole description is the one that is
// given, which has to be one that no other guest can have; else it returns
// ErrExists. A nil error means that the change was made, as of a Hypervisor.
type Cloner interface {
	// ArchivePath returns the file that an archive is in.
	ArchivePath(ctx context.Context, archive string) (string, error)

	// CanClone returns nil if a guest of s can be a linked clone of a template of
	// the same archive and storage, or else ErrNoClone with the reason.
	CanClone(ctx context.Context, s Spec) error

	// Templates returns the templates of this host, by VMID.
	Templates(ctx context.Context) ([]Template, error)

	// FinishTemplate makes a stopped guest a protected template, and finishes what an
	// interrupted call has left. It is safe to repeat. It returns ErrPartial
	// if the guest has to be removed because it cannot become a template any more.
	FinishTemplate(ctx context.Context, vmid int, description string) error

	// RemoveTemplate removes a template, an unfinished one too, and what an
	// interrupted call left. It returns nil if that guest does not exist, and
	// ErrInUse if linked clones use it, which stays protected then. storage is as
	// of Discard.
	RemoveTemplate(ctx context.Context, vmid int, description, storage string) error

	// Clone makes guest vmid, stopped, as Restore of s would, but as a linked clone of t.
	// s must have a description. It returns ErrExists if a guest vmid exists,
	// ErrNoClone if t cannot give it, and ErrBusy if another task works on t. On
	// any error but a killed process nothing of the guest is left.
	Clone(ctx context.Context, t Template, vmid int, s Spec, p Progress) error

	// DiscardClone removes what an interrupted Clone left: a partial guest, or a
	// complete one with the description that lacks some of its settings.
	// Otherwise it is as Discard.
	DiscardClone(ctx context.Context, vmid int, description, storage string) error
}
