package vzdump

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Name is the file name of an archive: vzdump-lxc-<vmid>-<time>.tar[.ext]. PVE
// reads guest and time from it for lists and pruning.
type Name struct {
	VMID int       // 100 to 999999999
	Time time.Time // wall clock in whole seconds; the name has no zone, so ParseName returns UTC
	Ext  string    // "zst", "gz", "lzo", "bz2", or "" for a plain tar
}

// MinVMID and MaxVMID are the limits of a guest's number.
const (
	MinVMID = 100
	MaxVMID = 999_999_999
)

const nameTime = "2006_01_02-15_04_05"

var namePattern = regexp.MustCompile(`^vzdump-lxc-([1-9][0-9]{2,8})-([0-9]{4}_[0-9]{2}_[0-9]{2}-[0-9]{2}_[0-9]{2}_[0-9]{2})\.tar(?:\.(zst|gz|lzo|bz2))?$`)

// ParseName reads a base name. The error says what a name must look like.
func ParseName(base string) (Name, error) {
	m := namePattern.FindStringSubmatch(base)
	if m == nil {
		return Name{}, fmt.Errorf("archive name %q: want vzdump-lxc-<vmid>-YYYY_MM_DD-HH_MM_SS.tar.zst", base)
	}
	vmid, err := strconv.Atoi(m[1])
	if err != nil {
		return Name{}, fmt.Errorf("archive name %q: vmid: %w", base, err)
	}
	t, err := time.Parse(nameTime, m[2])
	if err != nil {
		return Name{}, fmt.Errorf("archive name %q: %w", base, err)
	}
	return Name{VMID: vmid, Time: t, Ext: m[3]}, nil
}

// String returns the base name, with the time in n.Time's own zone.
func (n Name) String() string {
	s := fmt.Sprintf("vzdump-lxc-%d-%s.tar", n.VMID, n.Time.Format(nameTime))
	if n.Ext != "" {
		s += "." + n.Ext
	}
	return s
}

// The suffixes of the files beside an archive. PVE keeps the first two and
// ignores ".sha256".
const (
	NotesSuffix     = ".notes"     // UTF-8 text; lists show its first line
	ProtectedSuffix = ".protected" // empty; blocks removal
	SHA256Suffix    = ".sha256"    // as sha256sum writes it
)
