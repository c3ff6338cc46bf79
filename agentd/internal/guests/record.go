package guests

import (
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// Record is what is stored of one guest.
type Record struct {
	Version   int       `json:"version"`
	VMID      int       `json:"vmid"`
	ID        string    `json:"id,omitempty"` // of this record; another guest with the same VMID has another
	Added     time.Time `json:"added"`
	IDMapBase int       `json:"id_map_base"` // host id of the guest's root
	Current   Stored    `json:"current"`
	Previous  *Stored   `json:"previous,omitempty"` // still accepted until ValidUntil or the first use of Current
	// Pending are tokens that were minted and may be in the guest's mount: each is
	// accepted until the mount is known to hold another ([Record.Confirm]), so
	// that a command that is killed at any point leaves a valid token in the mount.
	Pending []Stored `json:"pending,omitempty"`
	// Ended are the last tokens that are not accepted any more, the latest last.
	Ended []Ended `json:"ended,omitempty"`
	// IsOwed means that all tokens were ended by [Store.End], and that the guest gets
	// a new one as soon as one can be written into its mount.
	IsOwed bool `json:"owed,omitempty"`

	ControllerImage string       `json:"controller_image,omitempty"` // if it is not the configuration's
	Asked           *Asked       `json:"asked,omitempty"`            // nil: nothing but the image
	Provisioned     *Provisioned `json:"provisioned,omitempty"`      // nil: felhom-agentd did not create the guest
	Detached        *Detached    `json:"detached,omitempty"`         // nil: the guest keeps its config mount
}

// Detached is why a guest has no config mount for some time.
type Detached struct {
	For        string    `json:"for"` // snapshot, clone, …
	At         time.Time `json:"at"`
	WasRunning bool      `json:"was_running,omitempty"`
}

// identity distinguishes the records that a VMID has one after the other. Of no
// record it is "".
func (r Record) identity() string {
	if r.ID == "" && r.Version != 0 {
		return r.Added.UTC().Format(time.RFC3339)
	}
	return r.ID
}

// owns reports whether what was received from a guest with the given record is
// of this record's guest. What has no record is older than its guest's, or was
// written by a version that noted none.
func (r Record) owns(record string, received time.Time) bool {
	if record == "" {
		return !received.Before(r.Added)
	}
	return record == r.identity()
}

// Provisioned is how this host created the guest.
type Provisioned struct {
	ID     string    `json:"id"`     // also in the guest's description
	Golden string    `json:"golden"` // archive or volume
	At     time.Time `json:"at"`
	// Template is the VMID of the template that the guest was a linked clone of; 0: it
	// was restored.
	Template int `json:"template,omitempty"`
	// Image is what was known of the archive; nil in records of older versions.
	Image *goldenid.ID `json:"image,omitempty"`
}

// Stored is one token as it is kept: never the token itself.
type Stored struct {
	SHA256     token.Digest `json:"sha256"`
	Minted     time.Time    `json:"minted"`
	FirstUsed  *time.Time   `json:"first_used,omitempty"`
	ValidUntil *time.Time   `json:"valid_until,omitempty"`
	// After is the last run that the guest had reported when its mount got the
	// settings that it has with this token, or it was started; "": any run counts.
	After string `json:"after,omitempty"`
}

// Ended is a token that is not accepted any more. Its use is worth an alarm.
type Ended struct {
	SHA256 token.Digest `json:"sha256"`
	At     time.Time    `json:"at"`
	Why    EndReason    `json:"why"`
}

// EndReason is why a token is not accepted any more.
type EndReason string

// The reasons.
const (
	EndReplaced EndReason = "replaced" // by one that was minted later
	EndRevoked  EndReason = "revoked"  // by [Store.Revoke]
	EndDisk     EndReason = "ended with the disk that it was given to"
)
