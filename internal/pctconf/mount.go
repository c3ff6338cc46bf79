package pctconf

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// maxMount is the last mpN that PVE knows.
const maxMount = 255

// Mount is one mount of a guest: the value of an mpN, as far as the drivers of
// hypervisors act on it.
type Mount struct {
	Source   string // a directory of the host, a device of it, or the volume STORAGE:NAME
	Target   string // where the guest sees it
	ReadOnly bool
	Shared   bool // the source is the same on every node of a cluster
}

// ParseMount reads the value of an mpN. It checks only the form, not the
// meaning of source and target, and drops the options that [Mount] does not
// have.
func ParseMount(value string) (Mount, error) {
	p, err := ParseProperties(value, "volume")
	if err != nil {
		return Mount{}, err
	}
	m := Mount{Source: p["volume"], Target: p["mp"]}
	for key, field := range map[string]*bool{"ro": &m.ReadOnly, "shared": &m.Shared} {
		if text, ok := p[key]; ok {
			on, err := ParseBool(text)
			if err != nil {
				return Mount{}, fmt.Errorf("%s: %w", key, err)
			}
			*field = on
		}
	}
	return m, nil
}

// String returns the canonical value of an mpN. It has replicate=0: PVE cannot
// replicate a directory of the host, and would end the guest's replication
// jobs.
func (m Mount) String() string {
	value := withoutName("volume", m.Source) + ",mp=" + m.Target + ",replicate=0"
	if m.ReadOnly {
		value += ",ro=1"
	}
	if m.Shared {
		value += ",shared=1"
	}
	return value
}

// IsDirectory reports whether the source is a directory of the host. It is
// PVE's own test: /dev/… is a device, any other absolute path a directory.
func (m Mount) IsDirectory() bool {
	return strings.HasPrefix(m.Source, "/") && !strings.HasPrefix(m.Source, "/dev/")
}

// MountPoint is one mpN of a configuration.
type MountPoint struct {
	Key string
	Mount
	Err error // the line has a wrong form: its number is taken, and it mounts nothing
}

// Mounts returns the mpN of the current configuration in the order of their
// numbers.
func (c *Config) Mounts() (list []MountPoint) {
	for n := range maxMount + 1 {
		key := "mp" + strconv.Itoa(n)
		value, ok := c.Get(key)
		if !ok {
			continue
		}
		m, err := ParseMount(value)
		if err != nil {
			err = fmt.Errorf("%s: %w", key, err)
		}
		list = append(list, MountPoint{Key: key, Mount: m, Err: err})
	}
	return list
}

// MountAt returns the mpN at a target in the guest, and whether there is one.
func (c *Config) MountAt(target string) (MountPoint, bool) {
	for _, p := range c.Mounts() {
		if p.Target == target {
			return p, true
		}
	}
	return MountPoint{}, false
}

// FreeMount returns the first mpN that the configuration does not have and that
// is not in taken, which may be nil.
func (c *Config) FreeMount(taken map[string]bool) (key string, err error) {
	for n := range maxMount + 1 {
		key := "mp" + strconv.Itoa(n)
		if _, has := c.Get(key); !has && !taken[key] {
			return key, nil
		}
	}
	return "", fmt.Errorf("all %d mount points are taken", maxMount+1)
}

// ownedVolume is a volume's name that has its guest's VMID.
var ownedVolume = regexp.MustCompile(`^(?:vm|base|subvol|basevol)-([0-9]+)-`)

// CheckVolume returns an error if volume is not a STORAGE:NAME, or if its name
// says that it belongs to another guest than vmid: as vm-8200-disk-0 does, and
// 8200/data.raw. The last part of a linked clone's name counts.
func CheckVolume(volume string, vmid int) error {
	storage, name, ok := strings.Cut(volume, ":")
	if !ok || storage == "" || strings.Contains(storage, "/") {
		return errors.New("not a volume of a storage")
	}
	parts := strings.Split(name, "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return errors.New("not a volume of a storage")
		}
	}
	own, last := strconv.Itoa(vmid), len(parts)-1
	if m := ownedVolume.FindStringSubmatch(parts[last]); m != nil && m[1] != own {
		return fmt.Errorf("a volume of guest %s", m[1])
	}
	if last > 0 && strings.Trim(parts[last-1], "0123456789") == "" && parts[last-1] != own {
		return fmt.Errorf("a volume of guest %s", parts[last-1])
	}
	return nil
}
