package vzdump

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/felhom/felhom-golden/internal/fault"
)

// The classes of refusal; compare with errors.Is. Every error of a class has
// kind [fault.Invalid]. Errors of the underlying reader have none of them
// and come through unchanged in the chain.
var (
	// ErrTruncated: the archive ends before its end marker.
	ErrTruncated = errors.New("archive is truncated")
	// ErrCorrupt: bytes that are not zstd, gzip or tar, or a wrong checksum.
	ErrCorrupt = errors.New("archive is corrupt")
	// ErrUnsupported: a compression, dictionary or tar feature that a restore
	// by PVE could not read either.
	ErrUnsupported = errors.New("archive is not supported")
	// ErrEscape: a member or hard link that would reach outside the tree.
	ErrEscape = errors.New("archive tries to leave its tree")
	// ErrLimit: one of [Limits] is exceeded.
	ErrLimit = errors.New("archive exceeds a limit")
	// ErrTwoConfigs: two members that PVE could take for the configuration.
	ErrTwoConfigs = errors.New("archive has two configurations")
	// ErrNoConfig: no member is the configuration.
	ErrNoConfig = errors.New("archive has no configuration")
)

// RefusedError says why an archive was refused, and at which member.
type RefusedError struct {
	Class  error  // one of the Err values
	Member string // raw name, or "" if it is not about a member
	Reason string // what is wrong: want X, got Y
	Number int    // of the member, from 1, or 0
	Offset int64  // where it begins in the tar stream, in bytes, if Number is not 0
	Err    error  // cause, or nil
}

func (e *RefusedError) Error() string {
	text := e.Class.Error() + ": "
	if e.Member != "" {
		text += strconv.Quote(e.Member) + ": "
	}
	text += e.Reason
	if e.Number != 0 {
		text += fmt.Sprintf(" (member %d, at byte %d of the tar stream)", e.Number, e.Offset)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns class and cause.
func (e *RefusedError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

const (
	hintDamaged  = "copy the archive again, and compare its sha256sum with its maker's"
	hintRepack   = "make it again with felhom-golden build or vzdump --compress zstd"
	hintHostile  = "do not restore it: neither vzdump nor felhom-golden makes such an archive"
	hintTooLarge = "docs/vzdump.md describes the limits; make a smaller archive"
)

// hints say what to do; what is said further out comes first.
var hints = map[error]string{
	ErrTruncated: hintDamaged, ErrCorrupt: hintDamaged, ErrUnsupported: hintRepack,
	ErrEscape: hintHostile, ErrTwoConfigs: hintHostile, ErrLimit: hintTooLarge,
}

func refuse(class error, member, format string, args ...any) error {
	return fault.WrapHint(fault.Invalid, &RefusedError{Class: class, Member: member, Reason: fmt.Sprintf(format, args...)}, hints[class])
}
