package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/identity"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// goldenAge is the age at which a golden image misses so many security updates
// that a new one should be made.
const goldenAge = 90 * 24 * time.Hour

// leastFree is what the state's file system must have available: the log of
// reports has 8 MiB, and is written again beside its records.
const leastFree = 64 << 20

// ownerOf returns the owner of a file.
func ownerOf(info fs.FileInfo) (uid uint32, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}

// madeAt returns when a golden image was made: by its name, or by the time of its
// file if its name does not have it.
func madeAt(archive string) (time.Time, error) {
	if filepath.IsAbs(archive) {
		info, err := os.Stat(archive)
		if err != nil {
			return time.Time{}, err
		}
		if name, err := vzdump.ParseName(filepath.Base(archive)); err == nil {
			return name.Time, nil
		}
		return info.ModTime(), nil
	}
	_, path, _ := strings.Cut(archive, ":") // a volume of PVE: STORAGE:backup/NAME
	name, err := vzdump.ParseName(filepath.Base(path))
	return name.Time, err
}

func (d doctor) store(context.Context) []checks.Finding {
	if d.StoreErr != nil {
		return checks.FromError(fault.Wrap(fault.Failed, d.StoreErr), "look at the directory, its owner and its file system")
	}
	if d.Store == nil {
		return []checks.Finding{checks.Warn("systemctl start felhom-agentd", "%s does not exist yet: felhom-agentd has not run here", d.Config.StateDir)}
	}
	var found []checks.Finding
	for _, dir := range slices.Compact([]string{d.Config.StateDir, d.Config.StoreDir}) {
		found = append(found, writable(dir)...)
		found = append(found, othersWrite(dir)...)
	}
	found = append(found, d.keys()...)
	records, broken, err := d.Store.List()
	if err != nil {
		return append(found, checks.FromError(err, "look at "+d.Config.StoreDir)...)
	}
	for _, name := range sortedNames(broken) {
		found = append(found, checks.Fail(fault.Invalid, "restore the file from a backup, or remove it and run felhom-agentd guest add for that guest", "record %v", broken[name]))
	}
	return orFine(found, "%s is writable and %d guests are readable", d.Config.StoreDir, len(records))
}

// writable writes a file and syncs it; nothing of it stays.
func writable(dir string) []checks.Finding {
	remedy := "look at the file system of " + dir + ": mount options, free space, and on pmxcfs the quorum (pvecm status)"
	if err := atomicfile.Probe(dir); err != nil {
		return checks.FromError(fault.Wrap(kindOf(err), err), remedy)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return checks.FromError(fmt.Errorf("%s: %w", dir, err), remedy)
	}
	free := st.Bavail * uint64(max(st.Bsize, 0))
	if free < leastFree {
		return []checks.Finding{checks.Warn("free some space", "%s has %d MiB available", dir, free>>20)}
	}
	return nil
}

// kindOf returns NotReady for faults that pass with time or a cluster's quorum.
func kindOf(err error) fault.Kind {
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) {
		return fault.NotReady
	}
	return fault.Failed
}

// keys looks at the private keys, and at who can read them.
func (d doctor) keys() (found []checks.Finding) {
	dir := cmp.Or(d.Config.KeyDir, filepath.Join(d.Config.StateDir, "tls"))
	root, err := os.OpenRoot(dir)
	var entries []fs.DirEntry
	if err == nil {
		found = append(found, checks.FromError(fault.Wrap(fault.Invalid, identity.CheckKeys(root)),
			"restore the file in "+dir+" from a backup before felhom-agentd starts again: guests pin this key; without a backup, remove the file, restart felhom-agentd and run felhom-agentd guest add for each guest")...)
		entries, err = fs.ReadDir(root.FS(), ".")
		err = errors.Join(err, root.Close())
	}
	if err != nil {
		return checks.FromError(err, "systemctl restart felhom-agentd makes what is missing; restore lost keys from a backup, because guests pin them")
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".key" {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil {
			found = append(found, checks.FromError(err, "look at "+path)...)
			continue
		}
		if owner, ok := ownerOf(info); info.Mode().Perm()&0o077 != 0 || ok && owner != 0 {
			found = append(found, checks.Fail(fault.Invalid, "chown root: "+path+" && chmod 600 "+path+"; who could read it may have the key: change it if there are other users here",
				"%s has mode %04o and belongs to user %d: it is the private key that guests trust", path, info.Mode().Perm(), owner))
		}
	}
	return found
}

func (d doctor) mounts(ctx context.Context) []checks.Finding {
	if found := d.noStore(); found != nil {
		return found
	}
	records, _, err := d.Store.List()
	if err != nil {
		return []checks.Finding{checks.NotKnown("correct what the check of the store found", "%v", err)}
	}
	var found []checks.Finding
	seen := 0
	for _, r := range records {
		if r.IsRevoked() || d.isElsewhere(r.VMID) {
			continue
		}
		if ctx.Err() != nil {
			return append(found, checks.NotKnown("run it again", "%d of %d mounts were looked at in time", seen, len(records)))
		}
		seen++
		root, err := d.Root(ctx, r.VMID)
		if err != nil {
			found = append(found, checks.NotKnown("look at the guest's configuration", "guest %d: %v", r.VMID, err))
			continue
		}
		flaws, err := d.Mounts.Look(r.VMID, root)
		if err != nil {
			found = append(found, checks.FromError(err, "look at "+d.Mounts.Path(r.VMID))...)
		}
		for _, flaw := range flaws {
			found = append(found, checks.Fail(fault.Invalid, fmt.Sprintf("felhom-agentd guest add %d writes the mount again", r.VMID), "guest %d: %s", r.VMID, flaw))
		}
	}
	known, err := d.Mounts.Guests()
	if err != nil {
		found = append(found, checks.FromError(err, "look at "+d.Config.MountsDir)...)
	}
	for _, vmid := range known {
		if _, err := d.Store.Get(vmid); err != nil && errors.Is(err, guests.ErrNotFound) {
			found = append(found, checks.Warn(fmt.Sprintf("felhom-agentd guest remove %d", vmid), "%s belongs to no guest that is known", d.Mounts.Path(vmid)))
		}
	}
	return orFine(found, "owners and modes of %d mounts are right", seen)
}
