package verify

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// bootstrapUnit is what a golden image is for.
const bootstrapUnit = "felhom-controller-bootstrap.service"

func checkInit(c *check) {
	if e, at := c.Lookup("sbin/init"); e == nil || e.Mode&0o111 == 0 || path.Base(at) != "systemd" {
		c.fail("sbin/init", "does not lead to systemd")
	}
	u := c.Units()
	target := "default.target"
	if e, masked := u.Find(target); e == nil || masked {
		c.fail(image.VendorUnits+"/"+target, "is missing or masked, want the target that the guest boots to")
	}
}

func checkFirstBootUnit(c *check) {
	u := c.Units()
	e, masked := u.Find(bootstrapUnit)
	if e == nil {
		c.fail(image.AdminUnits+"/"+bootstrapUnit, "there is no such unit (masked: %v), want it enabled", masked)
		return
	}
	starter := strings.TrimSuffix(bootstrapUnit, ".service") + ".path"
	if len(u.EnabledBy(bootstrapUnit)) == 0 && len(u.EnabledBy(starter)) == 0 {
		c.fail(e.Path, "nothing enables it, want a link in %s/*.wants", image.AdminUnits)
	}
	program := u.Load(bootstrapUnit).Program()
	if program == "" {
		c.fail(e.Path, "no ExecStart=")
		return
	}
	bin, at := c.Lookup(program)
	if bin == nil || bin.Type != vzdump.File {
		c.fail(program, "is missing; %s calls it", bootstrapUnit)
		return
	}
	if bin.Mode&0o111 == 0 {
		c.fail(at, "mode %04o, want it executable", bin.Mode)
	}
	want, known := machine(c.setting("arch"))
	i := slices.IndexFunc(c.binaries, func(b binary) bool { return b.Path == at })
	switch {
	case i < 0:
		c.fail(at, "is not an ELF program, want a static one: a script depends on what the image has")
	case known && c.binaries[i].Machine != want:
		c.fail(at, "is for %s, want %s", c.binaries[i].Machine, want)
	case c.binaries[i].Interp != "" || len(c.binaries[i].Needed) > 0:
		c.fail(at, "is linked to %s, want it static", strings.Join(append(c.binaries[i].Needed, c.binaries[i].Interp), " "))
	}
}

func checkFirstBootCondition(c *check) {
	if id := c.ByPath["etc/machine-id"]; id == nil || string(c.Content[id.Path]) == "uninitialized\n" {
		return
	}
	u := c.Units()
	for _, name := range u.Enabled() {
		for _, v := range u.Load(name).All("Unit", "ConditionFirstBoot") {
			if v == "yes" || v == "true" || v == "1" || v == "on" {
				c.fail(u.EnabledBy(name)[0], "has ConditionFirstBoot=yes and never runs: /etc/machine-id is not \"uninitialized\"; use ConditionPathExists=! of a stamp")
			}
		}
	}
}

func checkPresets(c *check) {
	u := c.Units()
	all, isAll := u.Presets()
	if !isAll {
		c.fail("", "presets have more than %d lines, want no more: each unit is compared with each of them", image.MaxPresets)
		return
	}
	expected, also, seen := map[string]image.Preset{}, map[string]bool{}, map[string]bool{}
	for _, dir := range image.UnitDirs {
		for _, e := range c.Entries {
			name := path.Base(e.Path)
			if path.Dir(e.Path) != dir || e.Type != vzdump.File || !image.IsUnit(name) || seen[name] {
				continue
			}
			seen[name] = true
			// PVE makes and removes the links of both gettys at every start.
			if file, masked := u.Find(name); masked || file == nil || strings.Contains(name, "getty@") {
				continue
			}
			f := u.Load(name)
			if len(f.List("Install", "WantedBy", "RequiredBy", "UpheldBy", "Alias", "Also")) == 0 {
				continue
			}
			if strings.Contains(name, "@.") && len(f.List("Install", "DefaultInstance")) == 0 {
				continue // a template without a default has nothing to enable
			}
			p := image.PresetFor(all, name)
			expected[name] = p
			if p.Enable {
				for _, other := range f.List("Install", "Also") {
					also[other] = true
				}
			}
		}
	}
	instances := map[string]bool{} // names up to the "@" of units that are enabled
	for _, name := range u.Enabled() {
		if prefix, _, ok := strings.Cut(name, "@"); ok {
			instances[prefix] = true
		}
	}
	for _, name := range sortedKeys(expected) {
		p := expected[name]
		on := len(u.EnabledBy(name)) > 0
		if prefix, isTemplate := strings.CutSuffix(name, "@"+path.Ext(name)); isTemplate {
			on = instances[prefix]
		}
		unit, _ := u.Find(name)
		switch {
		case p.Enable && !on && len(u.Load(name).List("Install", "WantedBy", "RequiredBy", "UpheldBy", "Alias")) > 0:
			c.fail(unit.Path, "is not enabled, and a first boot would enable it (%s: enable %s)", p.From, p.Pattern)
		case !p.Enable && on && !also[name]:
			c.fail(unit.Path, "is enabled, and a first boot would disable it (%s: disable %s)", p.From, p.Pattern)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func checkUnitLinks(c *check) {
	for _, e := range c.Entries {
		if e.Type != vzdump.Symlink || !image.IsUnit(path.Base(e.Path)) {
			continue
		}
		dir := path.Dir(e.Path)
		here := slices.Contains(image.UnitDirs, dir) || image.IsInstallDir(dir) && slices.Contains(image.UnitDirs, path.Dir(dir))
		if to, at := c.Lookup(e.Path); here && to == nil && at != "dev/null" && at != "dev" {
			c.fail(e.Path, "link to %q, and there is no /%s", e.Link, at)
		}
	}
}

func checkNetworkOnline(c *check) {
	u := c.Units()
	var waiters []string
	for _, dir := range image.UnitDirs {
		for _, e := range c.Below(dir + "/network-online.target.wants") {
			if _, masked := u.Find(path.Base(e.Path)); !masked && e.Link != "/dev/null" {
				waiters = append(waiters, path.Base(e.Path))
			}
		}
	}
	slices.Sort(waiters)
	waiters = slices.Compact(waiters)
	own := []string{"networking.service", "ifupdown-wait-online.service"}
	if !c.hasPackage("ifupdown") {
		own = []string{"systemd-networkd-wait-online.service", "NetworkManager-wait-online.service"}
	}
	if len(waiters) != 1 || !slices.Contains(own, waiters[0]) {
		c.fail(image.AdminUnits+"/network-online.target.wants", "its waiters are %q, want exactly one of %q", waiters, own)
	}
}

func checkMasks(c *check) {
	u := c.Units()
	for _, name := range []string{"sys-kernel-config.mount", "sys-kernel-debug.mount", "systemd-journald-audit.socket", "systemd-modules-load.service"} {
		if e, masked := u.Find(name); e != nil && !masked {
			c.fail(e.Path, "fails in every unprivileged guest, want it masked (a link %s/%s to /dev/null)", image.AdminUnits, name)
		}
	}
}

func checkConsole(c *check) {
	u := c.Units()
	if e, masked := u.Find("container-getty@.service"); e == nil || masked {
		c.fail(image.VendorUnits+"/container-getty@.service", "is missing or masked, want it: PVE enables it on /dev/ttyN")
	}
	if _, masked := u.Find("getty.target"); masked {
		c.fail(image.AdminUnits+"/getty.target", "is masked, want it")
	}
	for _, name := range []string{"sbin/agetty", "bin/login"} {
		if e, _ := c.Lookup(name); e == nil {
			c.fail(name, "is missing: there is no login on the console")
		}
	}
}

func checkUnitOrder(c *check) {
	u := c.Units()
	// What is pulled in: enabled units and, through them, what they want.
	after, seen := map[string][]string{}, map[string]bool{}
	queue := u.Enabled()
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		e, _ := u.Find(name)
		if e == nil {
			continue
		}
		f := u.Load(name)
		after[name] = append(after[name], f.List("Unit", "After")...)
		for _, later := range f.List("Unit", "Before") {
			after[later] = append(after[later], name)
		}
		queue = append(queue, f.List("Unit", "Wants", "Requires", "BindsTo")...)
	}
	if cycle := findCycle(after); cycle != nil {
		c.fail("", "order cycle: %s", strings.Join(cycle, " after "))
	}
	if e, _ := u.Find(bootstrapUnit); e != nil {
		// The socket is enough: what is asked of it waits for the engine.
		after := u.Load(bootstrapUnit).List("Unit", "After")
		if !slices.Contains(after, "docker.service") && !slices.Contains(after, "docker.socket") {
			c.fail(e.Path, "no After=docker.socket nor After=docker.service: it may start before there is an engine to wait for")
		}
	}
}

// findCycle returns the first cycle by name, its first element again at the
// end, or nil.
func findCycle(after map[string][]string) []string {
	const walking, done = 1, 2
	state := map[string]int{}
	var stack []string
	var visit func(string) []string
	visit = func(name string) []string {
		switch state[name] {
		case done:
			return nil
		case walking:
			return append(slices.Clone(stack[slices.Index(stack, name):]), name)
		}
		state[name] = walking
		stack = append(stack, name)
		for _, next := range after[name] {
			if cycle := visit(next); cycle != nil {
				return cycle
			}
		}
		stack = stack[:len(stack)-1]
		state[name] = done
		return nil
	}
	for _, name := range sortedKeys(after) {
		if cycle := visit(name); cycle != nil {
			return cycle
		}
	}
	return nil
}

func checkDocker(c *check) {
	for _, names := range [][]string{
		{"usr/bin/dockerd", "usr/sbin/dockerd"},
		{"usr/bin/containerd"},
		{"usr/bin/containerd-shim-runc-v2"},
		{"usr/bin/runc", "usr/sbin/runc"},
		{"usr/bin/docker-init", "usr/bin/tini-static", "usr/bin/tini"},
		{"usr/sbin/iptables", "usr/sbin/nft"},
	} {
		if !slices.ContainsFunc(names, func(n string) bool { e, _ := c.Lookup(n); return e != nil && e.Mode&0o111 != 0 }) {
			c.fail(names[0], "is missing or not executable")
		}
	}
	u := c.Units()
	if len(u.EnabledBy("docker.service")) == 0 && len(u.EnabledBy("docker.socket")) == 0 {
		c.fail(image.VendorUnits+"/docker.service", "neither docker.service nor docker.socket is enabled")
	}
	const name = "etc/docker/daemon.json"
	text, ok := c.Text(name)
	if !ok {
		c.fail(name, "is missing, want one with a log limit: containers' logs fill the disk")
		return
	}
	var daemon struct {
		LogDriver string         `json:"log-driver"`
		LogOpts   map[string]any `json:"log-opts"`
	}
	if err := json.Unmarshal([]byte(text), &daemon); err != nil {
		c.fail(name, "is not JSON that dockerd reads: %v", err)
		return
	}
	if _, problem := rules.LogProblem(daemon.LogDriver, daemon.LogOpts); problem != "" {
		c.fail(name, "%s", problem)
	}
}

func checkNetworkTools(c *check) {
	if c.setting("ostype") == "unmanaged" {
		return
	}
	if !slices.ContainsFunc([]string{"ifupdown", "ifupdown2", "ifupdown-ng"}, c.hasPackage) {
		c.fail("", "no ifupdown, want it: PVE writes /etc/network/interfaces and nothing else")
	}
	if c.asksForDHCP() && !slices.ContainsFunc([]string{"dhcpcd-base", "isc-dhcp-client", "udhcpc", "dhcpcd"}, c.hasPackage) {
		c.fail("", "pct.conf asks for DHCP and there is no client, want dhcpcd-base")
	}
}
