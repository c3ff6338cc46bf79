package pct

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// restorable are the suffixes by which "pct restore" finds out a compression;
// it does not read the file. A .tgz cannot be restored, although the storage
// lists it as a backup.
var restorable = regexp.MustCompile(`\.tar(\.(gz|bz2|xz|lzo|zst))?$`)

// path returns the path of an archive, which is given as a path or as a volume
// of a storage.
func (d *Driver) path(ctx context.Context, archive string) (string, error) {
	if filepath.IsAbs(archive) {
		return archive, nil
	}
	storage, volume, ok := strings.Cut(archive, ":")
	if !ok || storage == "" || strings.HasPrefix(archive, "-") {
		return "", driver.Faultf(driver.ErrArchive, "want an absolute path, or STORAGE:backup/FILE", "%q is neither a path nor a volume", archive)
	}
	file, isBackup := strings.CutPrefix(volume, "backup/")
	if !isBackup {
		return "", driver.Faultf(driver.ErrArchive, "put it into the storage's dump directory; its volume is then STORAGE:backup/FILE", "%s is not a backup, and pct restores backups only", archive)
	}
	path, err := d.backup(ctx, storage, file)
	switch {
	case err != nil && isClass(err, driver.ErrNoStorage):
		return "", driver.Faultf(driver.ErrArchive, "pvesm status lists the storages", "%s: this node has no storage %s", archive, storage)
	case err != nil:
		return "", err
	}
	if !filepath.IsAbs(path) {
		return "", driver.Faultf(driver.ErrArchive, "copy it to a storage of type dir or nfs", "pvesm path %s gave %q, which is not a file", archive, path)
	}
	return path, nil
}

// ArchiveConfig implements [driver.Hypervisor]. It reads no further than to
// the member, which is the first one in every archive that PVE made.
func (d *Driver) ArchiveConfig(ctx context.Context, archive string) ([]byte, error) {
	conf, _, err := d.archive(ctx, archive)
	return conf, err
}

// archive reads the configuration and the size of an archive, and refuses one
// that PVE would not restore or would take more from than the guest.
func (d *Driver) archive(ctx context.Context, archive string) (conf []byte, size int64, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, 0, err
	}
	path, err := d.path(ctx, archive)
	if err != nil {
		return nil, 0, err
	}
	if !restorable.MatchString(path) {
		return nil, 0, driver.Faultf(driver.ErrArchive, "rename it to what it is", "%s: pct knows a compression only by the name's end: .tar, .tar.zst, .tar.gz, .tar.lzo", archive)
	}
	f, err := regular.Open(path)
	if err != nil {
		return nil, 0, driver.Faultf(driver.ErrArchive, "pvesm list STORAGE --content backup lists archives", "%s: %w", archive, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	conf, rules, err := vzdump.ReadSettings(vzdump.WithContext(ctx, f))
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return nil, 0, cause
	case err != nil:
		return nil, 0, driver.Faultf(driver.ErrArchive, verifyHint, "%s: %w", archive, err)
	case len(bytes.TrimSpace(rules)) > 0:
		return nil, 0, bringsRules(archive)
	}
	head := make([]byte, 8)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, 0, err
	}
	if err := vzdump.CompressionOf(head).CheckName(path); err != nil {
		return nil, 0, driver.Faultf(driver.ErrArchive, "rename it to what it is", "%s: %w", archive, err)
	}
	return conf, info.Size(), nil
}

const verifyHint = "felhom-golden verify says what is wrong with an archive"
