package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/passage"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/unpack"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// maxHostID bounds the ids of guests: some file systems and programs treat ids
// as signed numbers.
const maxHostID = 1<<31 - 1

// rangeSize is the number of ids of a guest: all that an archive may use.
const rangeSize = vzdump.MaxID + 1

// closeGuest lets only root and the guest's own root into a guest's directory:
// below it are programs with the set-id bits of the guest, and files of its
// groups, which guests of one id range share. If the file system has no ACLs,
// the group of the guest's root gets through in place of its user.
func closeGuest(dir string, ids unpack.IDMap) (err error) {
	f, err := openDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	uid, gid := ids.Root()
	err = passage.Only(int(f.Fd()), uid, passage.Walk)
	if errors.Is(err, errors.ErrUnsupported) {
		return errors.Join(f.Chown(0, gid), f.Chmod(0o710))
	}
	return errors.Join(err, f.Chown(0, 0))
}

func openDir(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// chooseIDs writes into c the id range that a restore would give to the guest
// now; without [Options].PerGuest it changes nothing.
func (d *Driver) chooseIDs(c *pctconf.Config) error {
	if !d.o.PerGuest {
		return nil
	}
	first, err := d.freeRange()
	if err != nil {
		return err
	}
	setRange(c, first)
	return nil
}

// reserveIDs is chooseIDs, and reserves the range for the guest in the
// directory partial: no other restore takes it from here on.
func (d *Driver) reserveIDs(ctx context.Context, partial string, c *pctconf.Config) (err error) {
	if !d.o.PerGuest {
		return nil
	}
	unlock, err := d.lockRanges(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := d.chooseIDs(c); err != nil {
		return err
	}
	text := (&pctconf.Config{LXC: c.LXC}).Format()
	return os.WriteFile(filepath.Join(partial, reservedFile), text, 0o600)
}

// reservedFile holds the id map of a guest that is being restored, as lines of
// pct.conf.
const reservedFile = "idmap"

func setRange(c *pctconf.Config, first int) {
	lines := []pctconf.Setting{}
	for _, kind := range []string{"u", "g"} {
		lines = append(lines, pctconf.Setting{Key: "lxc.idmap", Value: fmt.Sprintf("%s 0 %d %d", kind, first, rangeSize)})
	}
	for _, s := range c.LXC {
		if s.Key != "lxc.idmap" {
			lines = append(lines, s)
		}
	}
	c.LXC = lines
}

// lockRanges holds the choice of id ranges below the lxcpath for this process.
func (d *Driver) lockRanges(ctx context.Context) (unlock func() error, err error) {
	return filelock.Wait(ctx, filepath.Join(d.o.Path, ".idmap.lock"))
}

// freeRange returns the first id of a range that both files give to root and
// that is not used by a guest, by the guests without their own range, or by
// another user of this host.
func (d *Driver) freeRange() (int, error) {
	taken, err := d.takenRanges()
	if err != nil {
		return 0, err
	}
	var allowed [2]subIDRanges
	for i, file := range []string{d.o.SubUIDFile, d.o.SubGIDFile} {
		if allowed[i], err = subIDs(file, isRoot); err != nil {
			return 0, err
		}
		others, err := subIDs(file, func(name string) bool { return !isRoot(name) })
		if err != nil {
			return 0, err
		}
		taken = append(taken, others...)
	}
	for _, a := range allowed[0] {
		for first := max(a.first, pctconf.LeastHostID); first+rangeSize <= min(a.first+a.count, maxHostID); {
			next := first + rangeSize
			end := taken.endOf(first, rangeSize)
			if end == 0 && allowed[1].covers(unpack.Range{Host: first, Count: rangeSize}) {
				return first, nil
			}
			first = max(next, end)
		}
	}
	return 0, driver.Faultf(driver.ErrNotReady, fmt.Sprintf("give root more, in both files, such as root:1000000000:%d for 64 guests", 64*rangeSize), "%s and %s give root no free range of %d ids for a guest of its own", d.o.SubUIDFile, d.o.SubGIDFile, rangeSize)
}

// endOf returns the end of the last range that overlaps these ids, 0 if none
// does.
func (s subIDRanges) endOf(first, count int) int {
	end := 0
	for _, r := range s {
		if first < r.first+r.count && r.first < first+count {
			end = max(end, r.first+r.count)
		}
	}
	return end
}

// takenRanges returns the ranges of all guests below the lxcpath, also of those
// that are being restored or removed, and the shared one. A guest whose range
// is not known is an error: its ids must not be given to another one.
func (d *Driver) takenRanges() (subIDRanges, error) {
	before, err := d.listPath()
	for err == nil {
		var taken subIDRanges
		if taken, err = d.rangesIn(before); err != nil {
			break
		}
		var after []fs.DirEntry
		after, err = d.listPath()
		// A guest whose directory was renamed meanwhile was not seen.
		if err == nil && slices.EqualFunc(before, after, func(a, b fs.DirEntry) bool { return a.Name() == b.Name() }) {
			return taken, nil
		}
		before = after
	}
	return nil, err
}

func (d *Driver) listPath() ([]fs.DirEntry, error) {
	dirs, err := os.ReadDir(d.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return dirs, err
}

func (d *Driver) rangesIn(dirs []fs.DirEntry) (taken subIDRanges, err error) {
	taken = subIDRanges{{first: defaultIDBase, count: rangeSize}}
	for _, dir := range dirs {
		if !dir.IsDir() {
			continue
		}
		for _, name := range []string{confFile, reservedFile} {
			file := filepath.Join(d.o.Path, dir.Name(), name)
			data, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			conf, _ := pctconf.Parse(data)
			ranges, err := pctconf.IDRanges(conf)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			for _, r := range ranges {
				taken = append(taken, subIDRange{first: r.Host, count: r.Count})
			}
		}
	}
	return taken, nil
}

func isRoot(name string) bool { return strings.TrimSpace(name) == "root" || name == "0" }
