package pcttest

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// resources are the paths that the stand-in of pvesh serves.
var resources = []struct {
	path    *regexp.Regexp
	options []string
	get     func(p *process, name string) (any, int)
}{
	{regexp.MustCompile(`^/nodes/([^/]+)/lxc/([0-9]+)/config$`), []string{"current"}, (*process).getConfig},
	{regexp.MustCompile(`^/nodes/([^/]+)/lxc/([0-9]+)/pending$`), nil, (*process).getPending},
	{regexp.MustCompile(`^/nodes/([^/]+)/lxc/([0-9]+)/status/current$`), nil, (*process).getStatus},
	{regexp.MustCompile(`^/nodes/([^/]+)/(tasks)$`), []string{"source", "limit", "vmid"}, (*process).getTasks},
	{regexp.MustCompile(`^/nodes/([^/]+)/storage/([^/]+)/status$`), nil, (*process).getStorage},
	{regexp.MustCompile(`^/nodes/([^/]+)/storage/([^/]+)/content$`), []string{"vmid"}, (*process).getContent},
}

func runPvesh(p *process) int {
	if len(p.args) < 2 || p.args[0] != "get" {
		return p.die(255, "ERROR: unknown command 'pvesh %s'", strings.Join(p.args, " "))
	}
	for _, r := range resources {
		m := r.path.FindStringSubmatch(p.args[1])
		if m == nil {
			continue
		}
		if !p.parse(p.args[2:], append(slices.Clone(r.options), "output-format")) {
			return 255
		}
		if m[1] != NodeName {
			return p.die(255, "hostname lookup '%s' failed - failed to get address info for: %s: Name or service not known", m[1], m[1])
		}
		value, code := r.get(p, m[2])
		if code != 0 {
			return code
		}
		if p.options["output-format"] != "json" {
			return p.die(255, "the stand-in speaks JSON alone")
		}
		data, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		p.log("%s", data)
		return 0
	}
	return p.die(syscall.ENOENT, "No '%s' handler defined for '%s'", p.args[0], p.args[1])
}

// guestOf reads the guest that a path names.
func (p *process) guestOf(name string) (vmid int, config *pctconf.Config, raw []byte, code int) {
	vmid, err := strconv.Atoi(name)
	if err != nil {
		panic(err)
	}
	config, raw, ok := readConf(p.dir, vmid)
	if !ok {
		return vmid, nil, nil, p.confMissing(vmid)
	}
	return vmid, config, raw, 0
}

// values is a configuration as the API gives it: the description decoded and
// with the line break that the parser adds, numbers as text.
func values(config *pctconf.Config) map[string]any {
	m := map[string]any{}
	for _, s := range config.Settings {
		m[s.Key] = s.Value
	}
	if v, err := strconv.Atoi(fmt.Sprint(m["unprivileged"])); err == nil {
		m["unprivileged"] = v // booleans become numbers once PVE looked at them
	}
	if config.Description != "" {
		m["description"] = config.Description + "\n"
	}
	return m
}

func (p *process) getConfig(name string) (any, int) {
	_, config, raw, code := p.guestOf(name)
	if code != 0 {
		return nil, code
	}
	if p.options["current"] != "1" {
		applyPending(config)
	}
	m := values(config)
	m["digest"] = digestOf(raw)
	var lxc [][2]string
	for _, s := range config.LXC {
		lxc = append(lxc, [2]string{s.Key, s.Value})
	}
	if lxc != nil {
		m["lxc"] = lxc
	}
	return m, 0
}

func (p *process) getPending(name string) (any, int) {
	_, config, _, code := p.guestOf(name)
	if code != 0 {
		return nil, code
	}
	items := map[string]map[string]any{}
	for key, value := range values(config) {
		items[key] = map[string]any{"key": key, "value": value}
	}
	if config.Pending != nil {
		for _, s := range config.Pending.Settings {
			if s.Key == "delete" {
				continue
			}
			if items[s.Key] == nil {
				items[s.Key] = map[string]any{"key": s.Key}
			}
			items[s.Key]["pending"] = s.Value
		}
	}
	for _, key := range pendingDeletes(config) {
		if items[key] == nil {
			items[key] = map[string]any{"key": key}
		}
		items[key]["delete"] = 1
	}
	list := []any{}
	for _, item := range items {
		list = append(list, item)
	}
	return list, 0
}

func (p *process) getStatus(name string) (any, int) {
	vmid, config, _, code := p.guestOf(name)
	if code != 0 {
		return nil, code
	}
	m := map[string]any{"vmid": vmid, "status": p.look(vmid, config), "maxdisk": int64(8 << 30), "disk": 0, "type": "lxc"}
	if m["status"] == "running" {
		m["disk"] = strconv.Itoa(700 << 20) // a number as text, as perl has it
	}
	if lock, ok := config.Get("lock"); ok {
		m["lock"] = lock
	}
	m["ha"] = map[string]any{"managed": 0}
	if slices.Contains(p.state.Faults.HA, vmid) {
		m["ha"] = map[string]any{"managed": 1, "state": "started"}
	}
	return m, 0
}

func (p *process) getTasks(string) (any, int) {
	list := []Task{}
	for _, t := range p.state.Tasks {
		if vmid := p.options["vmid"]; p.options["source"] == "active" && (vmid == "" || t.ID == vmid) {
			list = append(list, t)
		}
	}
	limit := 50
	if n, err := strconv.Atoi(p.options["limit"]); err == nil {
		limit = n
	}
	list = list[:min(limit, len(list))]
	return list, 0
}

func (p *process) getStorage(name string) (any, int) {
	st := p.state.Storages[name]
	if st == nil {
		return nil, p.die(255, "storage '%s' does not exist", name)
	}
	bit := func(off bool) int {
		if off {
			return 0
		}
		return 1
	}
	return map[string]any{
		"type": st.Type, "content": st.Content, "enabled": bit(st.Disabled), "active": bit(st.Inactive || st.Disabled),
		"avail": st.Avail, "total": int64(2 << 40), "used": int64(1 << 30), "shared": 0,
	}, 0
}

func (p *process) getContent(name string) (any, int) {
	st := p.state.Storages[name]
	if st == nil {
		return nil, p.die(255, "storage '%s' does not exist", name)
	}
	list := []any{}
	for _, v := range st.Volumes {
		if strings.HasPrefix(v, "vm-"+p.options["vmid"]+"-") {
			list = append(list, map[string]any{"volid": name + ":" + v, "content": "rootdir", "ctime": time.Now().Unix()})
		}
	}
	return list, 0
}

func runPvesm(p *process) int {
	if len(p.args) == 2 && p.args[0] == "free" {
		return p.free(p.args[1])
	}
	if len(p.args) != 2 || p.args[0] != "path" {
		return p.die(255, "ERROR: unknown command 'pvesm %s'", strings.Join(p.args, " "))
	}
	storage, volume, ok := strings.Cut(p.args[1], ":")
	st := p.state.Storages[storage]
	name, isBackup := strings.CutPrefix(volume, "backup/")
	switch {
	case !ok:
		return p.die(255, "unable to parse volume ID '%s'\n", p.args[1])
	case st == nil:
		return p.die(255, "storage '%s' does not exist", storage)
	case !isBackup || strings.Contains(name, "/"):
		return p.die(255, "unable to parse directory volume name '%s'", volume)
	}
	p.log("%s/dump/%s", st.Path, name)
	return 0
}

func (p *process) free(volid string) int {
	if p.freeVolumes(func(storage, volume string) bool { return storage+":"+volume == volid }) == 0 {
		return p.die(255, "no such volume '%s'", volid) // each type of storage has words of its own
	}
	p.log("Removed volume '%s'", volid)
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
