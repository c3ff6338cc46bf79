package pcttest

import (
	"encoding/json"
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
	{regexp.MustCompile(`^/(cluster)/(resources)$`), []string{"type"}, (*process).getResources},
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
		if m[1] != NodeName && m[1] != "cluster" {
			return p.die(syscall.EAGAIN, "hostname lookup '%s' failed - failed to get address info for: %s: Name or service not known", m[1], m[1])
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
	return p.die(syscall.EPERM, "No '%s' handler defined for '%s'", p.args[0], p.args[1])
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
// with the line break that the parser adds, numbers as numbers.
func values(config *pctconf.Config) map[string]any {
	m := map[string]any{}
	for _, s := range config.Settings {
		m[s.Key] = s.Value
		if n, err := strconv.Atoi(s.Value); err == nil && s.Key != "hostname" {
			m[s.Key] = n
		}
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
	_, config, raw, code := p.guestOf(name)
	if code != 0 {
		return nil, code
	}
	items := map[string]map[string]any{"digest": {"key": "digest", "value": digestOf(raw)}}
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
	m := map[string]any{
		"vmid": vmid, "status": "stopped", "type": "lxc", "name": "CT", "uptime": 0, "cpu": 0, "cpus": 1, "mem": 0, "maxmem": 512 << 20,
		"swap": 0, "maxswap": 512 << 20, "disk": 0, "maxdisk": int64(8 << 30), "diskread": 0, "diskwrite": 0, "netin": 0, "netout": 0,
	}
	if readRun(p.dir, vmid).Running {
		m["status"], m["disk"], m["pid"], m["uptime"] = "running", 700<<20, 4711, 12
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
	list := []any{}
	for _, t := range p.state.Tasks {
		vmid := p.options["vmid"]
		if p.options["source"] != "active" || vmid != "" && t.ID != vmid {
			continue
		}
		row := map[string]any{"upid": t.UPID(), "type": t.Type, "id": t.ID, "node": NodeName, "pid": t.PID, "user": "root@pam", "status": t.Status}
		if t.Status != "" && t.Status != "RUNNING" {
			row["endtime"] = 1716560064
		}
		list = append(list, row)
	}
	limit := 50
	if n, err := strconv.Atoi(p.options["limit"]); err == nil {
		limit = n
	}
	return list[:min(limit, len(list))], 0
}

// getResources lists the guests of the whole cluster.
func (p *process) getResources(string) (any, int) {
	list := []any{}
	text, err := vmlist(p.dir, &p.state)
	if err != nil {
		panic(err)
	}
	var known struct {
		IDs map[string]struct{ Node, Type string }
	}
	if err := json.Unmarshal([]byte(text), &known); err != nil {
		panic(err)
	}
	for id, g := range known.IDs {
		vmid, err := strconv.Atoi(id)
		if err != nil {
			panic(err)
		}
		list = append(list, map[string]any{"id": g.Type + "/" + id, "vmid": vmid, "node": g.Node, "type": g.Type, "status": "unknown"})
	}
	return list, 0
}

func (p *process) getStorage(name string) (any, int) {
	st := p.state.Storages[name]
	if st == nil {
		return nil, p.noStorage("pvesh get <api_path> [OPTIONS] [FORMAT_OPTIONS]")
	}
	bit := func(off bool) int {
		if off {
			return 0
		}
		return 1
	}
	total, used, avail := int64(2<<40), int64(1<<30), st.Avail
	if st.Disabled || st.Inactive {
		total, used, avail = 0, 0, 0
	}
	return map[string]any{
		"type": st.Type, "content": st.Content, "enabled": bit(st.Disabled), "active": bit(st.Inactive || st.Disabled),
		"avail": avail, "total": total, "used": used, "shared": 0,
	}, 0
}

func (p *process) getContent(name string) (any, int) {
	if p.state.Storages[name] == nil {
		return nil, p.noStorage("pvesh get <api_path> [OPTIONS] [FORMAT_OPTIONS]")
	}
	list := []any{}
	for _, v := range p.rows(name, p.options["vmid"]) {
		list = append(list, map[string]any{
			"volid": name + ":" + v, "content": "rootdir", "ctime": time.Now().Unix(), "format": "raw", "parent": nil, "size": int64(4 << 30), "used": 0, "vmid": p.options["vmid"],
		})
	}
	return list, 0
}
