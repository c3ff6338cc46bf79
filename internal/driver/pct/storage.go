package pct

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/regular"
)

const storageHint = "pvesm status lists the storages; one that takes guests has the content rootdir"

// storageFacts are what a restore must know about a storage.
type storageFacts struct {
	Type    string `json:"type"`
	Content string `json:"content"`
	Enabled number `json:"enabled"`
	Active  number `json:"active"`
	Avail   number `json:"avail"`
}

// checkStorage returns an error if storage cannot take a root file system of
// need bytes. A storage that allocates in full must have them free; for others
// PVE does not say how much an archive will need, which is at least its packed
// size.
func (d *Driver) checkStorage(ctx context.Context, storage string, need, packed int64) error {
	if storage == "" {
		return nil // the archive could not be read, and nothing was asked for
	}
	if strings.HasPrefix(storage, "-") || strings.ContainsAny(storage, ":,/ \n") {
		return driver.Faultf(driver.ErrNoStorage, storageHint, "%q is not a valid name of a storage", storage)
	}
	st, err := d.storage(ctx, storage)
	if err != nil {
		return err
	}
	if st.Type != "lvm" {
		need = packed
	}
	switch {
	case st.Enabled == 0:
		return driver.Faultf(driver.ErrNoStorage, "pvesm set "+storage+" --disable 0", "storage '%s' is disabled", storage)
	case st.Active == 0:
		return driver.Faultf(driver.ErrNoStorage, "pvesm status says why", "storage '%s' is not active on node %s", storage, d.o.Node)
	case !slices.Contains(strings.FieldsFunc(st.Content, isListSeparator), "rootdir"):
		return driver.Faultf(driver.ErrNoStorage, storageHint, "storage '%s' has the content %q, want rootdir in it", storage, st.Content)
	case int64(st.Avail) < need:
		return driver.Faultf(driver.ErrNoSpace, "make space on the storage, or name another", "storage '%s' has %d MiB free, want %d", storage, int64(st.Avail)>>20, need>>20)
	}
	return nil
}

func isListSeparator(r rune) bool { return r == ',' || r == ';' || r == ' ' }

// storage reads the facts of one storage from the node's files, or else from
// pvesm, or else from PVE's API.
func (d *Driver) storage(ctx context.Context, name string) (st storageFacts, err error) {
	config, known := d.storageConfig(name)
	if path, ok := d.directory(name); ok && known {
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); err == nil {
			return storageFacts{Type: "dir", Content: config.options["content"], Enabled: 1, Active: 1, Avail: number(int64(fs.Bavail) * fs.Bsize)}, nil //nolint:gosec // blocks of a disk
		}
	}
	_, disabled := config.options["disable"]
	if avail, ok := d.reported(name); ok && known && !disabled && config.options["content"] != "" {
		return storageFacts{Type: config.kind, Content: config.options["content"], Enabled: 1, Active: 1, Avail: number(avail)}, nil
	}
	if known && config.options["content"] != "" {
		out, err := d.call(ctx, readTimeout, d.o.Pvesm, "status", "--storage", name)
		if err != nil {
			return st, err
		}
		if st, ok := parseStatus(name, string(out)); ok {
			st.Content = config.options["content"]
			return st, nil
		}
	}
	err = d.get(ctx, &st, "/storage/"+name+"/status")
	return st, err
}

// Each node's pvestatd reports its active storages to the cluster every ten
// seconds; the cluster file system shows the last report of each.
const (
	reportFile    = ".rrd"
	maxReportFile = 16 << 20
	maxReportAge  = 2 * time.Minute
)

// reportLine is a report of a storage: node, name, time, total and used bytes.
var reportLine = regexp.MustCompile(`^pve\d*-storage(?:-[0-9.]+)?/([^/:]+)/([^/:]+):(\d{1,12}):(\d{1,18}):(\d{1,18})$`)

// reported returns how many bytes a storage had free in the node's last report.
// It reports false if there is no such report.
func (d *Driver) reported(name string) (avail int64, ok bool) {
	data, err := regular.Read(filepath.Join(d.o.PVEDir, reportFile), maxReportFile)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		m := reportLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || m[1] != d.o.Node || m[2] != name {
			continue
		}
		var values [3]int64
		for i := range values {
			if values[i], err = strconv.ParseInt(m[3+i], 10, 64); err != nil {
				return 0, false
			}
		}
		when, total, used := time.Unix(values[0], 0), values[1], values[2]
		return total - used, time.Since(when).Abs() < maxReportAge && total > 0 && used <= total
	}
	return 0, false
}

// parseStatus reads the row of one storage of "pvesm status": name, type,
// state, then total, used and free in KiB, and a percentage.
func parseStatus(name, table string) (st storageFacts, ok bool) {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		const columns = 7
		if len(fields) != columns || fields[0] != name {
			continue
		}
		avail, err := strconv.ParseInt(fields[5], 10, 64)
		if err != nil || avail < 0 || avail > 1<<52 {
			return st, false
		}
		st.Type, st.Avail = fields[1], number(avail<<10)
		switch fields[2] {
		case "active":
			st.Enabled, st.Active = 1, 1
		case "inactive":
			st.Enabled = 1
		case "disabled":
		default:
			return st, false
		}
		return st, true
	}
	return st, false
}

// storageConfig is a section of the cluster's storage.cfg.
type storageConfig struct {
	kind    string
	options map[string]string // a flag has the value ""
}

var (
	sectionLine = regexp.MustCompile(`^([a-z][a-z0-9_-]*):\s+(\S+)\s*$`)
	optionLine  = regexp.MustCompile(`^\s+(\S+)(?:\s+(.*\S))?\s*$`)
)

// storageConfig reads one section. It reports false where PVE has to be asked.
func (d *Driver) storageConfig(name string) (c storageConfig, ok bool) {
	data, err := regular.Read(filepath.Join(d.o.PVEDir, "storage.cfg"), maxStorageFile)
	if err != nil {
		return c, false
	}
	current := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			if current = m[2]; current == name {
				if ok {
					return c, false // twice
				}
				c, ok = storageConfig{kind: m[1], options: map[string]string{}}, true
			}
			continue
		}
		m := optionLine.FindStringSubmatch(line)
		switch {
		case m == nil:
			return c, false
		case current == name:
			c.options[m[1]] = m[2]
		}
	}
	return c, ok
}

// plainOptions are those of a storage of type dir that change neither where its
// files are nor whether this node may use it.
var plainOptions = []string{"path", "content", "shared", "prune-backups", "maxfiles", "preallocation", "format", "create-base-path", "create-subdirs", "mkdir", "bwlimit", "max-protected-backups", "snapshot-as-volume-chain"}

// directory returns where the files of a storage are, if it is an enabled one
// of type dir with plain options.
func (d *Driver) directory(name string) (path string, ok bool) {
	c, ok := d.storageConfig(name)
	if !ok || c.kind != "dir" {
		return "", false
	}
	for key := range c.options {
		if !slices.Contains(plainOptions, key) {
			return "", false
		}
	}
	path = c.options["path"]
	if name == "local" { // PVE accepts no other
		path = d.o.LocalDir
	}
	info, err := os.Stat(path)
	return path, err == nil && info.IsDir() && filepath.IsAbs(path)
}

var (
	backupFile = regexp.MustCompile(`^[^/\s]+\.(tgz|tar(\.(gz|lzo|zst|bz2))?)$`)
	imageFile  = regexp.MustCompile(`^[^/\s]+\.(raw|qcow2|vmdk|subvol)$`)
)

// volumes lists the disks of guest vmid on one storage.
func (d *Driver) volumes(ctx context.Context, vmid int, storage string) (ids []string, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	id := strconv.Itoa(vmid)
	if path, ok := d.directory(storage); ok {
		entries, err := os.ReadDir(filepath.Join(path, "images", id))
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for _, e := range entries {
			if imageFile.MatchString(e.Name()) {
				ids = append(ids, storage+":"+id+"/"+e.Name())
			}
		}
		return ids, nil
	}
	out, err := d.call(ctx, readTimeout, d.o.Pvesm, "list", storage, "--vmid", id)
	if err != nil {
		return nil, err
	}
	if ids, ok := parseList(storage, string(out)); ok {
		return ids, nil
	}
	var list []struct {
		VolID   string `json:"volid"`
		Content string `json:"content"`
	}
	err = d.get(ctx, &list, "/storage/"+storage+"/content", "--vmid", id)
	for _, v := range list {
		if isDisk(v.Content) {
			ids = append(ids, v.VolID)
		}
	}
	return ids, err
}

func isDisk(content string) bool { return content == "rootdir" || content == "images" }

// parseList reads "pvesm list": volume, format, content, size and VMID.
func parseList(storage, table string) (ids []string, ok bool) {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		const columns = 5
		switch {
		case len(fields) == 0:
		case len(fields) != columns:
			return nil, false
		case !ok && fields[0] == "Volid" && fields[2] == "Type":
			ok = true
		case !ok || !strings.HasPrefix(fields[0], storage+":"):
			return nil, false
		case isDisk(fields[2]):
			ids = append(ids, fields[0])
		}
	}
	return ids, ok
}

// checkLeftovers returns an error if the storage has volumes of that VMID
// already, which a guest that was removed by hand or a killed restore left:
// what this restore makes could not be distinguished from them.
func (d *Driver) checkLeftovers(ctx context.Context, vmid int, storage string) error {
	if storage == "" {
		return nil // this has its own error already
	}
	volumes, err := d.volumes(ctx, vmid, storage)
	if err != nil || len(volumes) == 0 {
		return err
	}
	return driver.Faultf(driver.ErrExists, "take another VMID, or remove what is left with pvesm free "+strings.Join(volumes, "; pvesm free "),
		"of this VMID is the volume %s", strings.Join(volumes, ", "))
}

// backup returns the path of a volume STORAGE:backup/FILE, from the node's
// files or, once per volume, from PVE.
func (d *Driver) backup(ctx context.Context, storage, file string) (string, error) {
	if path, ok := d.directory(storage); ok && backupFile.MatchString(file) {
		return filepath.Join(path, "dump", file), nil
	}
	volume := storage + ":backup/" + file
	if path, ok := d.paths.Load(volume); ok {
		return fmt.Sprint(path), nil
	}
	out, err := d.call(ctx, readTimeout, d.o.Pvesm, "path", volume)
	if err != nil {
		return "", err
	}
	path := strings.TrimSpace(string(out))
	if filepath.IsAbs(path) {
		d.paths.Store(volume, path)
	}
	return path, nil
}
