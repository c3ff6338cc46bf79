package pcttest

import (
	"crypto/sha1" //nolint:gosec // PVE's digest of a configuration
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// configOptions are the configuration keys that the stand-in takes.
var configOptions = []string{"rootfs", "hostname", "nameserver", "description", "memory", "cores", "swap", "onboot", "netN", "mpN", "tags", "features", "protection", "lock", "tty", "console", "cmode", "startup", "searchdomain", "timezone", "cpulimit", "cpuunits", "debug"}

var commands = map[string]struct {
	options []string
	words   int
	usage   string
	run     func(*process, int) int
}{
	"restore":  {slices.Concat(configOptions, []string{"storage", "force", "unique", "start", "unprivileged"}), 2, "pct restore <vmid> <ostemplate> [OPTIONS]", (*process).restore},
	"set":      {slices.Concat(configOptions, []string{"delete", "revert", "digest"}), 1, "pct set <vmid> [OPTIONS]", (*process).set},
	"start":    {[]string{"debug"}, 1, "pct start <vmid> [OPTIONS]", (*process).start},
	"stop":     {nil, 1, "pct stop <vmid> [OPTIONS]", (*process).stop},
	"shutdown": {[]string{"timeout", "forceStop"}, 1, "pct shutdown <vmid> [OPTIONS]", (*process).shutdown},
	"destroy":  {[]string{"force", "purge", "destroy-unreferenced-disks"}, 1, "pct destroy <vmid> [OPTIONS]", (*process).destroy},
	"unlock":   {nil, 1, "pct unlock <vmid>", (*process).unlock},
	"template": {nil, 1, "pct template <vmid>", (*process).template},
	"clone":    {[]string{"hostname", "description", "pool", "snapname", "storage", "full", "target", "bwlimit"}, 2, "pct clone <vmid> <newid> [OPTIONS]", (*process).clone},
	"resize":   {[]string{"digest"}, 3, "pct resize <vmid> <disk> <size> [OPTIONS]", (*process).resize},
}

// changes need a quorate cluster.
var changes = []string{"restore", "set", "destroy", "unlock", "start", "template", "clone", "resize"}

func runPct(p *process) int {
	if len(p.args) == 0 {
		return p.die(255, "ERROR: no command specified")
	}
	name := p.args[0]
	cmd, ok := commands[name]
	if !ok {
		return p.die(255, "ERROR: unknown command 'pct %s'", name)
	}
	if !p.parse(p.args[1:], cmd.options) {
		return 255
	}
	switch {
	case len(p.words) < cmd.words:
		return p.die(255, "400 not enough arguments\n%s", cmd.usage)
	case len(p.words) > cmd.words:
		return p.die(255, "400 too many arguments\n%s", cmd.usage)
	}
	vmid, err := strconv.Atoi(p.words[0])
	if err != nil || vmid < 100 || vmid > 999999999 {
		return p.badParameter(cmd.usage, "vmid", "invalid format - value does not look like a valid VM ID")
	}
	for key, value := range p.options {
		if part, text := badOption(key, value); text != "" {
			return p.badParameter(cmd.usage, key+part, text)
		}
	}
	if p.state.Faults.NoQuorum && slices.Contains(changes, name) {
		return p.die(255, "cluster not ready - no quorum?")
	}
	return cmd.run(p, vmid)
}

// badOption checks values as the schema does; part is that of a property.
func badOption(key, value string) (part, text string) {
	_, err := pctconf.Canonical(key, value)
	switch {
	case key == "description" && len(value) > 8192:
		return "", "value may only be 8192 characters long"
	case key == "hostname" && err != nil:
		return "", "invalid format - value does not look like a valid DNS name"
	case slices.Contains([]string{"memory", "cores", "swap"}, key):
		if _, err := strconv.Atoi(value); err != nil {
			return "", fmt.Sprintf("type check ('integer') failed - got '%s'", value)
		}
	case key == "onboot" && err != nil:
		return "", fmt.Sprintf("type check ('boolean') failed - got '%s'", value)
	case isMountKey(key):
		return badMount(value)
	case strings.HasPrefix(key, "net") && err != nil:
		props, parseErr := pctconf.ParseProperties(value, "")
		if ip := props["ip"]; parseErr == nil && ip != "" {
			if _, err := netip.ParsePrefix(ip); err != nil && ip != "dhcp" && ip != "manual" {
				return ".ip", "invalid format - value does not look like a valid ipv4 network configuration"
			}
		}
		return "", "invalid format - " + err.Error()
	case key == "features" && err != nil:
		return "", "invalid format - " + err.Error()
	}
	return "", ""
}

func badMount(value string) (part, text string) {
	props, err := pctconf.ParseProperties(value, "volume")
	switch volume := props["volume"] + "/"; {
	case err != nil:
		return "", "invalid format - " + err.Error()
	case strings.Contains(volume, "/./"), strings.Contains(volume, "/../"):
		return ".volume", "invalid format - '" + props["volume"] + "' contains illegal character sequences"
	case props["mp"] == "":
		return ".mp", "property is missing and it is not optional"
	}
	return "", ""
}

func (p *process) set(vmid int) int {
	config, raw, ok := readConf(p.dir, vmid)
	if !ok {
		return p.confMissing(vmid)
	}
	changes := maps.Clone(p.options)
	digest, deletes, reverts := changes["digest"], changes["delete"], changes["revert"]
	for _, key := range []string{"digest", "delete", "revert"} {
		delete(changes, key)
	}
	if len(changes) == 0 && deletes == "" && reverts == "" {
		return p.die(255, "no options specified")
	}
	if lock, _ := config.Get("lock"); lock != "" {
		return p.die(255, "CT is locked (%s)", lock)
	}
	if p.state.Faults.SetBusy {
		if err := withState(p.dir, func(s *state) { s.Faults.SetBusy = false }); err != nil {
			panic(err)
		}
		return p.die(255, "can't lock file '/run/lock/lxc/pve-config-%d.lock' - got timeout", vmid)
	}
	if digest != "" && digest != digestOf(raw) {
		return p.die(255, "detected modified configuration - file changed by other user? Try again.")
	}
	for key := range strings.FieldsFuncSeq(deletes, isListSeparator) {
		if slices.Contains([]string{"memory", "swap", "rootfs"}, key) {
			return p.die(255, "unable to delete required option '%s'", key)
		}
	}
	if p.state.Faults.SetForgets {
		return 0
	}
	run := readRun(p.dir, vmid)
	if p.state.Faults.RaceStart == vmid {
		run = running{Running: true}
	}
	var failed []string
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		if text := p.setOne(config, &run, key, changes[key]); text != "" {
			failed = append(failed, key+": "+text)
		}
	}
	for key := range strings.FieldsFuncSeq(deletes, isListSeparator) {
		if _, there := config.Get(key); !there {
			p.say("cannot delete '%s' - not set in current configuration!", key)
		}
		deleteOne(config, run, key)
	}
	for key := range strings.FieldsFuncSeq(reverts, isListSeparator) {
		revertOne(config, key)
	}
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
	if run.Running {
		if err := writeRun(p.dir, vmid, run); err != nil {
			panic(err)
		}
	}
	// The LXC configuration is made again after the change was saved.
	if bridge := p.bridgeMissing(config); bridge != "" {
		return p.die(syscall.ENOENT, "bridge '%s' does not exist", bridge)
	}
	if len(failed) > 0 {
		p.say("400 Parameter verification failed.\n%s\n\npct set <vmid> [OPTIONS]", strings.Join(failed, "\n"))
		return 1
	}
	return 0
}

func isListSeparator(r rune) bool { return r == ',' || r == ';' || r == ' ' }

// setOne changes one key; the text says why it could not be hot-plugged.
func (p *process) setOne(config *pctconf.Config, run *running, key, value string) string {
	switch {
	case key == "description":
		config.Description = value
		return ""
	case strings.HasPrefix(key, "net"):
		value = p.freshMAC(value, false)
	case isMountKey(key) && run.Running:
		props, err := pctconf.ParseProperties(value, "volume")
		if err != nil {
			panic(err)
		}
		if old, ok := config.Get(key); ok {
			if old != value {
				pend(config, key, value)
			}
			return ""
		}
		if text := mountFault(props["volume"]); text != "" {
			return "unable to hotplug " + key + ": " + text
		}
		if run.Mounts == nil {
			run.Mounts = map[string]string{}
		}
		run.Mounts[props["mp"]] = props["volume"]
	}
	if err := config.Set(key, value); err != nil {
		panic(err)
	}
	return ""
}

// pend makes a change wait for the next start.
func pend(config *pctconf.Config, key, value string) {
	revertOne(config, key)
	if config.Pending == nil {
		config.Pending = &pctconf.Section{}
	}
	config.Pending.Settings = append(config.Pending.Settings, pctconf.Setting{Key: key, Value: value})
}

func deleteOne(config *pctconf.Config, run running, key string) {
	if _, there := config.Get(key); !run.Running || !isMountKey(key) || !there {
		config.Delete(key)
		return
	}
	revertOne(config, key)
	list := append(pendingDeletes(config), key)
	if config.Pending == nil {
		config.Pending = &pctconf.Section{}
	}
	config.Pending.Settings = slices.DeleteFunc(config.Pending.Settings, func(s pctconf.Setting) bool { return s.Key == "delete" })
	config.Pending.Settings = append(config.Pending.Settings, pctconf.Setting{Key: "delete", Value: strings.Join(list, ",")})
}

func pendingDeletes(config *pctconf.Config) []string {
	if config.Pending == nil {
		return nil
	}
	for _, s := range config.Pending.Settings {
		if s.Key == "delete" {
			return strings.FieldsFunc(s.Value, isListSeparator)
		}
	}
	return nil
}

func revertOne(config *pctconf.Config, key string) {
	if config.Pending == nil {
		return
	}
	left := slices.DeleteFunc(pendingDeletes(config), func(k string) bool { return k == key })
	config.Pending.Settings = slices.DeleteFunc(config.Pending.Settings, func(s pctconf.Setting) bool { return s.Key == key || s.Key == "delete" })
	if len(left) > 0 {
		config.Pending.Settings = append(config.Pending.Settings, pctconf.Setting{Key: "delete", Value: strings.Join(left, ",")})
	}
	if len(config.Pending.Settings) == 0 {
		config.Pending = nil
	}
}

// applyPending is what the next stop and start do.
func applyPending(config *pctconf.Config) {
	if config.Pending == nil {
		return
	}
	for _, key := range pendingDeletes(config) {
		config.Delete(key)
	}
	for _, s := range config.Pending.Settings {
		if s.Key != "delete" {
			if err := config.Set(s.Key, s.Value); err != nil {
				panic(err)
			}
		}
	}
	config.Pending = nil
}

func digestOf(raw []byte) string {
	sum := sha1.Sum(raw) //nolint:gosec // PVE's digest of a configuration
	return hex.EncodeToString(sum[:])
}

func (p *process) unlock(vmid int) int {
	config, _, ok := readConf(p.dir, vmid)
	if !ok {
		return p.confMissing(vmid)
	}
	if _, locked := config.Get("lock"); !locked {
		return p.die(255, "no lock found trying to remove any lock")
	}
	config.Delete("lock")
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
	return 0
}

func (p *process) destroy(vmid int) int {
	config, _, ok := readConf(p.dir, vmid)
	if !ok {
		return p.confMissing(vmid)
	}
	on := func(key string) bool { v, _ := config.Bool(key); return v }
	lock, _ := config.Get("lock")
	switch {
	case on("protection"):
		return p.die(255, "can't remove CT %d - protection mode enabled", vmid)
	case slices.Contains(p.state.Faults.Replicated, vmid):
		return p.die(255, "There is a replication job '%d-0' for guest '%d' - Please remove that first.", vmid, vmid)
	case slices.Contains(p.state.Faults.HA, vmid):
		return p.die(255, "unable to remove CT %d - used in HA resources and purge parameter not set.", vmid)
	case readRun(p.dir, vmid).Running:
		return p.die(255, "unable to destroy CT %d - container is running", vmid)
	case lock != "":
		return p.fail("CT is locked (%s)", lock)
	}
	if text := p.cannotFree(config); text != "" {
		return p.fail("%s", text)
	}
	p.freeVolumes(func(storage, volume string) bool {
		return p.options["destroy-unreferenced-disks"] == "1" && strings.Contains("/"+volume, "/vm-"+strconv.Itoa(vmid)+"-") || names(config, storage+":"+volume)
	})
	if err := os.Remove(confPath(p.dir, vmid)); err != nil {
		panic(err)
	}
	// The firewall file and the run file go with the guest.
	if err := os.Remove(firewallPath(p.dir, vmid)); err != nil && !os.IsNotExist(err) {
		panic(err)
	}
	if err := os.Remove(filepath.Join(p.dir, "run", strconv.Itoa(vmid)+".json")); err != nil && !os.IsNotExist(err) {
		panic(err)
	}
	if err := refresh(p.dir); err != nil {
		panic(err)
	}
	return 0
}

func firewallPath(dir string, vmid int) string {
	return filepath.Join(dir, "etc/pve/firewall", strconv.Itoa(vmid)+".fw")
}

// names reports whether a configuration has the volume as one of its disks.
func names(config *pctconf.Config, volid string) bool {
	return slices.ContainsFunc(config.Settings, func(s pctconf.Setting) bool {
		disk := s.Key == "rootfs" || isMountKey(s.Key) || strings.HasPrefix(s.Key, "unused")
		return disk && (s.Value == volid || strings.HasPrefix(s.Value, volid+","))
	})
}

// freeVolumes frees those that a test of storage and volume name picks.
func (p *process) freeVolumes(pick func(storage, volume string) bool) (freed int) {
	err := withState(p.dir, func(s *state) {
		for name, st := range s.Storages {
			before := len(st.Volumes)
			st.Volumes = slices.DeleteFunc(st.Volumes, func(v string) bool { return pick(name, v) })
			freed += before - len(st.Volumes)
		}
	})
	if err != nil {
		panic(err)
	}
	return freed
}
