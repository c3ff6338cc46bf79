package pcttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// diskName is the first disk of a guest on a type of storage.
func diskName(kind string, vmid int) string {
	switch kind {
	case "dir", "btrfs":
		return fmt.Sprintf("%d/vm-%d-disk-0.raw", vmid, vmid)
	case "zfspool":
		return fmt.Sprintf("subvol-%d-disk-0", vmid)
	}
	return fmt.Sprintf("vm-%d-disk-0", vmid)
}

// cloneName is the disk of a linked clone: some types of storage name its base.
func cloneName(kind, base string, vmid int) string {
	name := diskName(kind, vmid)
	if kind == "zfspool" || kind == "rbd" {
		return base + "/" + name
	}
	return name
}

var diskOf = regexp.MustCompile(`(^|/)(vm|subvol)-(\d+-[^/]*)$`)

// baseName is the name that a disk gets as a base.
func baseName(volume string) string {
	return diskOf.ReplaceAllStringFunc(volume, func(s string) string {
		m := diskOf.FindStringSubmatch(s)
		return m[1] + map[string]string{"vm": "base", "subvol": "basevol"}[m[2]] + "-" + m[3]
	})
}

func isBaseName(volume string) bool {
	name := volume[strings.LastIndex(volume, "/")+1:]
	return strings.HasPrefix(name, "base-") || strings.HasPrefix(name, "basevol-")
}

// user returns a volume that names another one as its base: PVE finds no others,
// so that those of LVM-thin and btrfs may be removed.
func (p *process) user(storage, volume string) string {
	st := p.state.Storages[storage]
	if st == nil {
		return ""
	}
	for _, v := range st.Volumes {
		if strings.HasPrefix(v, volume+"/") {
			return v
		}
	}
	return ""
}

// cannotFree returns why a guest's disk cannot be freed.
func (p *process) cannotFree(config *pctconf.Config) string {
	root, storage, volume := rootDisk(config)
	st := p.state.Storages[storage]
	switch {
	case st == nil:
		return ""
	case p.user(storage, volume) != "":
		return fmt.Sprintf("base volume '%s' is still in use by linked clones", volume)
	case st.Type == "lvmthin" && !slices.Contains(st.Volumes, volume) && slices.Contains(st.Volumes, baseName(volume)),
		st.Type == "lvmthin" && !slices.Contains(st.Volumes, volume) && p.state.Faults.TemplateEnds != "":
		return fmt.Sprintf("lvremove 'pve/%s' error:   Failed to find logical volume \"pve/%s\"", root, root)
	}
	return ""
}

func rootDisk(config *pctconf.Config) (volid, storage, volume string) {
	value, _ := config.Get("rootfs")
	volid, _, _ = strings.Cut(value, ",")
	storage, volume, _ = strings.Cut(volid, ":")
	return volid, storage, volume
}

// template converts a guest. It has no status: it exits with 0 after a failure of its
// worker.
func (p *process) template(vmid int) int {
	config, _, ok := readConf(p.dir, vmid)
	if !ok {
		return p.confMissing(vmid)
	}
	lock, _ := config.Get("lock")
	isTemplate, _ := config.Bool("template")
	switch {
	case lock != "":
		return p.die(255, "CT is locked (%s)", lock)
	case len(config.Snapshots) > 0:
		return p.die(255, "unable to create template, because CT contains snapshots")
	case isTemplate:
		return p.die(255, "you can't convert a template to a template")
	case readRun(p.dir, vmid).Running:
		return p.die(255, "you can't convert a CT to template if the CT is running")
	}
	for _, props := range bindMounts(config) {
		p.say("Template feature is not available for '%s'", props["volume"])
		return 0
	}
	volid, storage, volume := rootDisk(config)
	st := p.state.Storages[storage]
	if st == nil || isBaseName(volume) || !slices.Contains(st.Volumes, volume) {
		p.say("Template feature is not available for '%s'", volid)
		return 0
	}
	base := baseName(volume)
	err := withState(p.dir, func(s *state) {
		at := slices.Index(s.Storages[storage].Volumes, volume)
		s.Storages[storage].Volumes[at] = base
	})
	if err != nil {
		panic(err)
	}
	if p.state.Faults.TemplateEnds == "disk" {
		return 137
	}
	value, _ := config.Get("rootfs")
	p.put(config, "rootfs", strings.Replace(value, volid, storage+":"+base, 1))
	if p.state.Faults.TemplateEnds != "config" {
		p.put(config, "template", "1")
	}
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
	if p.state.Faults.TemplateEnds == "config" {
		return 137
	}
	return 0
}

// clone locks the source, reserves the new number, and then lets a worker make the
// disk. It copies everything: protection and tags, too.
func (p *process) clone(vmid int) int {
	newid, err := strconv.Atoi(p.words[1])
	if err != nil || newid < 100 || newid > 999999999 {
		return p.badParameter("pct clone <vmid> <newid> [OPTIONS]", "newid", "invalid format - value does not look like a valid VM ID")
	}
	source, _, ok := readConf(p.dir, vmid)
	if !ok {
		return p.confMissing(vmid)
	}
	if lock, _ := source.Get("lock"); lock != "" {
		return p.die(255, "CT is locked (%s)", lock)
	}
	p.relock(vmid, "disk")
	f, err := os.OpenFile(confPath(p.dir, newid), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		p.relock(vmid, "")
		return p.die(255, "CT %d already exists on node '%s'", newid, NodeName)
	}
	if _, err := f.WriteString("lock: create\n"); err != nil {
		panic(err)
	}
	if err := errors.Join(f.Close(), refresh(p.dir)); err != nil {
		panic(err)
	}
	config, text := p.cloneConfig(source)
	if text != "" || p.state.Faults.CloneForgets {
		p.relock(vmid, "")
		code := p.undo(newid, 0)
		if text != "" {
			code = p.die(255, "%s", text)
		}
		return code
	}
	// The rules that were made for the new number before are gone in any case.
	if err := os.RemoveAll(firewallPath(p.dir, newid)); err != nil {
		panic(err)
	}
	if rules, err := os.ReadFile(firewallPath(p.dir, vmid)); err == nil {
		if err := os.WriteFile(firewallPath(p.dir, newid), rules, 0o640); err != nil {
			panic(err)
		}
	}
	if err := writeConf(p.dir, newid, config); err != nil {
		panic(err)
	}
	return p.cloneWorker(vmid, newid, source, config)
}

// relock sets or removes the lock of a guest.
func (p *process) relock(vmid int, lock string) {
	config, _, ok := readConf(p.dir, vmid)
	if !ok {
		return
	}
	if config.Delete("lock"); lock != "" {
		p.put(config, "lock", lock)
	}
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
}

// cloneConfig is the configuration of a clone before it has a disk, or why there is
// none.
func (p *process) cloneConfig(source *pctconf.Config) (config *pctconf.Config, text string) {
	isTemplate, _ := source.Bool("template")
	full := p.options["full"] == "1" || p.options["full"] == "" && !isTemplate
	if full {
		return nil, "the stand-in makes no full clones" // an adapter never asks for one
	}
	if p.options["storage"] != "" {
		return nil, "parameter 'storage' not allowed for linked clones"
	}
	for key := range bindMounts(source) {
		return nil, "unable to clone mountpoint '" + key + "' (type bind)"
	}
	volid, storage, volume := rootDisk(source)
	st := p.state.Storages[storage]
	if st == nil || !isBaseName(volume) || !slices.Contains([]string{"zfspool", "lvmthin", "rbd", "btrfs"}, st.Type) {
		return nil, "Linked clone feature for '" + volid + "' is not available"
	}
	config = &pctconf.Config{Description: source.Description, LXC: source.LXC}
	for _, s := range source.Settings {
		switch {
		case slices.Contains([]string{"template", "rootfs", "parent", "lock"}, s.Key), strings.HasPrefix(s.Key, "unused"):
			continue
		case strings.HasPrefix(s.Key, "net"):
			s.Value = p.freshMAC(s.Value, true)
		}
		config.Settings = append(config.Settings, s)
	}
	p.put(config, "lock", "create")
	if name := p.options["hostname"]; name != "" {
		p.put(config, "hostname", name)
	}
	if text := p.options["description"]; text != "" {
		config.Description = text
	}
	return config, ""
}

func (p *process) cloneWorker(vmid, newid int, source, config *pctconf.Config) int {
	f := p.state.Faults
	failed := func(text string) int {
		p.relock(vmid, "")
		return p.undo(newid, p.fail("clone failed: %s", text))
	}
	if f.PauseClone == "config" {
		p.waitForTERM(f.Touch)
		return failed("interrupted by signal")
	}
	volid, storage, base := rootDisk(source)
	p.log("create linked clone of mount point rootfs (%s)", volid)
	st := p.state.Storages[storage]
	if !slices.Contains(st.Volumes, base) {
		return failed("can't find volume '" + base + "'")
	}
	volume := cloneName(st.Type, base, newid)
	p.made = storage + ":" + volume
	err := withState(p.dir, func(s *state) {
		s.Storages[storage].Volumes = append(s.Storages[storage].Volumes, volume)
		s.Mounted = append(s.Mounted, newid)
	})
	if err != nil {
		panic(err)
	}
	if err := os.MkdirAll(rootfsDir(p.dir, newid), 0o755); err != nil {
		panic(err)
	}
	if f.PauseClone == "disk" {
		p.waitForTERM(f.Touch)
		return failed("interrupted by signal")
	}
	value, _ := source.Get("rootfs")
	p.put(config, "rootfs", strings.Replace(value, volid, storage+":"+volume, 1))
	config.Delete("lock")
	p.unmount(newid)
	p.relock(vmid, "")
	if err := writeConf(p.dir, newid, config); err != nil {
		panic(err)
	}
	return 0
}

var sizeForm = regexp.MustCompile(`^\d+(\.\d+)?[KMGT]?$`)

func (p *process) resize(vmid int) int {
	config, _, ok := readConf(p.dir, vmid)
	if !ok {
		return p.confMissing(vmid)
	}
	if p.words[1] != "rootfs" || !sizeForm.MatchString(p.words[2]) {
		return p.badParameter("pct resize <vmid> <disk> <size> [OPTIONS]", "size", "value does not match the regex pattern")
	}
	if lock, _ := config.Get("lock"); lock != "" {
		return p.die(255, "CT is locked (%s)", lock)
	}
	value, _ := config.Get("rootfs")
	props, err := pctconf.ParseProperties(value, "volume")
	if err != nil {
		panic(err)
	}
	now, err := pctconf.ParseSize(props["size"])
	want, wantErr := pctconf.ParseSize(p.words[2])
	switch {
	case errors.Join(err, wantErr) != nil:
		return p.die(syscall.EINVAL, "invalid size string")
	case want < now:
		return p.die(255, "unable to shrink disk size")
	case want == now:
		return p.die(255, "disk is already at specified size")
	}
	p.put(config, "rootfs", strings.Replace(value, "size="+props["size"], "size="+p.words[2], 1))
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
	return 0
}

// HasRules reports whether guest vmid has firewall rules.
func (n *Node) HasRules(vmid int) bool {
	data, err := os.ReadFile(firewallPath(n.dir, vmid))
	return err == nil && len(bytes.TrimSpace(data)) > 0
}
