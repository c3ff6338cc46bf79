package pcttest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

func runPvesm(p *process) int {
	if len(p.args) == 0 {
		return p.die(255, "ERROR: no command specified")
	}
	known := map[string]struct {
		options []string
		words   int
		run     func(*process) int
	}{
		"path": {nil, 1, (*process).volumePath}, "free": {nil, 1, (*process).free},
		"status": {[]string{"storage"}, 0, (*process).storageStatus}, "list": {[]string{"vmid"}, 1, (*process).list},
	}
	cmd, ok := known[p.args[0]]
	switch {
	case !ok:
		return p.die(255, "ERROR: unknown command 'pvesm %s'", p.args[0])
	case !p.parse(p.args[1:], cmd.options):
		return 255
	case len(p.words) < cmd.words:
		return p.die(255, "400 not enough arguments\npvesm %s [OPTIONS]", p.args[0])
	case len(p.words) > cmd.words:
		return p.die(255, "400 too many arguments\npvesm %s [OPTIONS]", p.args[0])
	}
	return cmd.run(p)
}

var backupName = regexp.MustCompile(`^[^/]+\.(tgz|(tar|vma)(\.(gz|lzo|zst|bz2))?)$`)

func (p *process) volumePath() int {
	storage, volume, ok := strings.Cut(p.words[0], ":")
	st := p.state.Storages[storage]
	name, isBackup := strings.CutPrefix(volume, "backup/")
	switch {
	case !ok:
		return p.badParameter("pvesm path <volume>", "volume", "invalid format - unable to parse volume ID '"+p.words[0]+"'\n")
	case st == nil:
		return p.die(255, "storage '%s' does not exist", storage)
	case !isBackup || !backupName.MatchString(name):
		return p.die(255, "unable to parse directory volume name '%s'", volume)
	}
	p.log("%s/dump/%s", st.Path, name)
	return 0
}

func (p *process) free() int {
	volid := p.words[0]
	storage, volume, _ := strings.Cut(volid, ":")
	for _, vmid := range p.state.Mounted {
		if strings.Contains(volume, fmt.Sprintf("vm-%d-", vmid)) {
			return p.die(255, "lvremove 'pve/%s' error:   Logical volume pve/%s contains a filesystem in use.", volume, volume)
		}
	}
	if user := p.user(storage, volume); user != "" {
		return p.die(255, "base volume '%s' is still in use by linked clones", volume)
	}
	freed := p.freeVolumes(func(s, v string) bool { return s+":"+v == volid })
	switch st := p.state.Storages[storage]; {
	case st == nil:
		return p.die(255, "storage '%s' does not exist", storage)
	case freed == 0 && st.Type != "dir":
		return p.die(255, "no such volume '%s'", volid) // each type of storage has words of its own
	case freed == 0:
		p.say("disk image '%s/images/%s' does not exist", st.Path, volume)
	}
	p.log("Removed volume '%s'", volid)
	return 0
}

// noStorage is how a storage is refused that is not configured.
func (p *process) noStorage(usage string) int {
	return p.badParameter(usage, "storage", "No such storage.")
}

func (p *process) storageStatus() int {
	name := p.options["storage"]
	if name != "" && p.state.Storages[name] == nil {
		return p.noStorage("pvesm status [OPTIONS]")
	}
	p.log("Name             Type     Status     Total (KiB)      Used (KiB) Available (KiB)        %%")
	for id, st := range p.state.Storages {
		if name != "" && id != name {
			continue
		}
		word, total, used, avail := "active", int64(storageSize>>10), (storageSize-st.Avail)>>10, st.Avail>>10
		switch {
		case st.Disabled:
			word, total, used, avail = "disabled", 0, 0, 0
		case st.Inactive:
			word, total, used, avail = "inactive", 0, 0, 0
		}
		share := "N/A"
		if total > 0 {
			share = "0.05%"
		}
		p.log("%-12s %8s %10s %15d %15d %15d %8s", id, st.Type, word, total, used, avail, share)
	}
	return 0
}

// rows are the disks of one guest on a storage.
func (p *process) rows(storage, vmid string) []string {
	return slices.DeleteFunc(slices.Clone(p.state.Storages[storage].Volumes), func(v string) bool {
		own := false
		for _, kind := range []string{"vm", "base", "subvol", "basevol"} {
			own = own || strings.HasPrefix(v[strings.LastIndex(v, "/")+1:], kind+"-"+vmid+"-")
		}
		return !own
	})
}

func (p *process) list() int {
	name := p.words[0]
	st := p.state.Storages[name]
	switch {
	case st == nil:
		return p.noStorage("pvesm list <storage> [OPTIONS]")
	case st.Disabled:
		return p.die(255, "storage '%s' is disabled", name)
	case st.Inactive:
		return p.die(255, "storage '%s' is not online", name)
	}
	p.log("%-30s %-8s %-10s %12s %s", "Volid", "Format", "Type", "Size", "VMID")
	for _, v := range p.rows(name, p.options["vmid"]) {
		p.log("%-30s %-8s %-10s %12d %s", name+":"+v, "raw", "rootdir", int64(4<<30), p.options["vmid"])
	}
	return 0
}

func runDpkgQuery(p *process) int {
	if len(p.args) != 3 || p.args[0] != "-W" || p.args[1] != "-f=${Version}" {
		return p.die(2, "dpkg-query: error: the stand-in knows -W -f=${Version} PACKAGE alone")
	}
	version, ok := p.state.Packages[p.args[2]]
	if !ok {
		return p.die(1, "dpkg-query: no packages found matching %s", p.args[2])
	}
	if _, err := os.Stdout.WriteString(version); err != nil {
		return 1
	}
	return 0
}
