package lxc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/unpack"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// ArchiveConfig implements [driver.Hypervisor]. It reads no further than
// necessary, so it does not check the rest of the archive.
func (d *Driver) ArchiveConfig(ctx context.Context, archive string) (_ []byte, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("read %s: %w", archive, err)
	}
	f, err := openArchive(archive)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := vzdump.ReadConfig(vzdump.WithContext(ctx, f))
	if err != nil {
		return nil, refuseArchive(archive, err)
	}
	return data, nil
}

func openArchive(archive string) (*os.File, error) {
	f, err := regular.Open(archive)
	if err != nil {
		return nil, driver.Faultf(driver.ErrArchive, "name the golden image by its absolute path; felhom-golden build makes one", "%w", err)
	}
	return f, nil
}

func refuseArchive(archive string, err error) error {
	return driver.Faultf(driver.ErrArchive, "felhom-golden verify "+archive+" says all that is wrong with it", "%s: %w", archive, err)
}

// Restore implements [driver.Hypervisor]. The guest is made in a directory beside
// its own, which gets the guest's name at the end.
func (d *Driver) Restore(ctx context.Context, vmid int, s driver.Spec, p driver.Progress) (err error) {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("restore guest %d: %w", vmid, err)
	}
	release, err := d.claim(vmid)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	for _, dir := range []string{d.dir(vmid), d.partialDir(vmid)} {
		if _, err := os.Lstat(dir); err == nil {
			return driver.Fault(driver.ErrExists, "take another VMID, or remove that guest first", fmt.Errorf("restore guest %d: %w: %s", vmid, driver.ErrExists, dir))
		}
	}
	partial := d.partialDir(vmid)
	if err := os.Mkdir(partial, 0o700); err != nil {
		return fmt.Errorf("restore guest %d: %w", vmid, err)
	}
	if err := d.restore(ctx, partial, vmid, s, p); err != nil {
		return errors.Join(fmt.Errorf("restore guest %d: %w", vmid, err), d.removePartial(vmid))
	}
	return nil
}

func (d *Driver) restore(ctx context.Context, partial string, vmid int, s driver.Spec, p driver.Progress) (err error) {
	data, err := d.ArchiveConfig(ctx, s.Archive)
	if err != nil {
		return err
	}
	archived, err := parseArchived(s.Archive, data)
	if err != nil {
		return err
	}
	conf, err := applySpec(archived, s)
	if err != nil {
		return err
	}
	if err := d.reserveIDs(ctx, partial, conf); err != nil {
		return err
	}
	ids, err := idMap(conf)
	if err != nil {
		return refuseArchive(s.Archive, err)
	}
	net, err := netOf(conf)
	if err := errors.Join(err, d.checkBridge(net.Bridge)); err != nil {
		return err
	}
	rootfs := filepath.Join(partial, rootfsDir)
	if err := os.Mkdir(rootfs, 0o755); err != nil {
		return err
	}
	// The archive's "./" does not change this directory, which exists already,
	// so its owner, the guest's root, is set here, as PVE's mkfs does.
	uid, gid := ids.Root()
	if err := errors.Join(os.Chown(rootfs, uid, gid), os.Chmod(rootfs, 0o755)); err != nil { // regardless of the umask
		return err
	}
	if err := unpackInto(ctx, s.Archive, rootfs, ids, p); err != nil {
		return err
	}
	if err := guestFiles(rootfs, vmid, conf); err != nil {
		return err
	}
	root, err := os.OpenRoot(partial)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := d.writeLXC(root, vmid, conf); err != nil {
		return err
	}
	if err := atomicfile.Write(root, confFile, conf.Format(), atomicfile.Attr{Mode: 0o644}); err != nil {
		return err
	}
	if err := closeGuest(partial, ids); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(partial, reservedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // pct.conf has the ids now
	}
	return d.publish(partial, vmid)
}

// publish gives the guest in partial its name. A loss of power then leaves the whole guest: its files are on the
// disk before it has its name. One call writes all of their file system, which is faster than one for each file.
func (d *Driver) publish(partial string, vmid int) error {
	f, err := os.Open(partial)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return fmt.Errorf("write %s to the disk: %w", partial, err)
	}
	if err := os.Rename(partial, d.dir(vmid)); err != nil {
		return err
	}
	if err := atomicfile.SyncPath(d.o.Path); err != nil {
		return errors.Join(err, os.Rename(d.dir(vmid), partial))
	}
	return nil
}

// removePartial removes a partial guest for good: a loss of power does not bring it back.
func (d *Driver) removePartial(vmid int) error {
	return errors.Join(os.RemoveAll(d.partialDir(vmid)), atomicfile.SyncPath(d.o.Path))
}

func parseArchived(archive string, data []byte) (*pctconf.Config, error) {
	conf, findings := pctconf.Parse(data)
	var all []error
	for _, f := range findings {
		if f.Severity == pctconf.Error {
			all = append(all, refuseArchive(archive, fmt.Errorf("./%s: %s", vzdump.ConfigPath, f)))
		}
	}
	return conf, errors.Join(all...)
}

func unpackInto(ctx context.Context, archive, rootfs string, ids unpack.IDMap, p driver.Progress) (err error) {
	f, err := openArchive(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err = unpack.CheckSpace(ctx, f, rootfs, unpack.Options{}); err == nil {
		counted := &meter{r: f, total: info.Size(), progress: p}
		_, err = unpack.Unpack(ctx, counted, rootfs, unpack.Options{IDMap: ids})
		counted.end()
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return err
	case isDiskFull(err):
		return driver.Faultf(driver.ErrNoSpace, "free space below "+filepath.Dir(filepath.Dir(rootfs))+"; df and df -i show it", "%w", err)
	}
	if _, isIO := errors.AsType[*fs.PathError](err); isIO && fault.Of(err) != fault.Invalid {
		return err
	}
	return refuseArchive(archive, err)
}

// meter reports how much of the archive was read, until its end is called. The
// archive is decoded in a goroutine of its own, whose last Read may outlive an
// Unpack that fails.
type meter struct {
	r     io.Reader
	total int64

	mu       sync.Mutex
	done     int64
	progress driver.Progress // nil: it ended, or there is none
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += int64(n)
	if m.progress != nil {
		m.progress(m.done, m.total)
	}
	return n, err
}

// end returns once progress is not called any more.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress = nil
}

// Discard implements [driver.Hypervisor]. There are no storages here.
func (d *Driver) Discard(ctx context.Context, vmid int, _ string) (err error) {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("discard guest %d: %w", vmid, err)
	}
	release, err := d.claim(vmid)
	if err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	if _, err := os.Lstat(d.dir(vmid)); err == nil {
		return driver.Fault(driver.ErrExists, "", fmt.Errorf("discard guest %d: %w, a whole one", vmid, driver.ErrExists))
	}
	if err := d.removePartial(vmid); err != nil {
		return fmt.Errorf("discard guest %d: %w", vmid, err)
	}
	return nil
}

// Destroy implements [driver.Hypervisor]. A guest that is only partly removed
// counts as a partial one, which Discard removes.
func (d *Driver) Destroy(ctx context.Context, vmid int) (err error) {
	release, err := d.claim(vmid)
	if err != nil {
		return fmt.Errorf("destroy: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	g, err := d.Guest(ctx, vmid)
	switch {
	case err != nil:
		return fmt.Errorf("destroy: %w", err)
	case g.Partial:
		return fmt.Errorf("destroy guest %d: %w", vmid, driver.ErrPartial)
	case g.State == driver.Running:
		return driver.Fault(driver.ErrRunning, "", fmt.Errorf("destroy guest %d: %w", vmid, driver.ErrRunning))
	}
	if err := d.sweepCgroups(ctx, vmid); err != nil {
		return fmt.Errorf("destroy guest %d: %w", vmid, err)
	}
	if err := os.Rename(d.dir(vmid), d.partialDir(vmid)); err != nil {
		return fmt.Errorf("destroy guest %d: %w", vmid, err)
	}
	// Else a loss of power could bring a guest back whose removal was acknowledged.
	if err := d.removePartial(vmid); err != nil {
		return fmt.Errorf("destroy guest %d: %w", vmid, err)
	}
	return nil
}
