package verify

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// bootstrapUnit is what a golden is for.
const bootstrapUnit = "felhom-controller-bootstrap.service"

func checkInit(c *check) {
	if e, at := c.lookup("sbin/init"); e == nil || e.mode&0o111 == 0 || path.Base(at) != "systemd" {
		c.fail("sbin/init", "does not lead to systemd")
	}
	u := c.units()
	target := "default.target"
	if e, masked := u.find(target); e == nil || masked {
		c.fail(vendorUnits+"/"+target, "is missing or masked, want the target that the guest boots to")
	}
}

func checkFirstBootUnit(c *check) {
	u := c.units()
	e, masked := u.find(bootstrapUnit)
	if e == nil {
		c.fail(adminUnits+"/"+bootstrapUnit, "there is no such unit (masked: %v), want it enabled", masked)
		return
	}
	starter := strings.TrimSuffix(bootstrapUnit, ".service") + ".path"
	if len(u.enabled[bootstrapUnit]) == 0 && len(u.enabled[starter]) == 0 {
		c.fail(e.path, "nothing enables it, want a link in %s/*.wants", adminUnits)
	}
	words := u.load(bootstrapUnit).list("Service", "ExecStart")
	if len(words) == 0 {
		c.fail(e.path, "no ExecStart=")
		return
	}
	program := strings.TrimLeft(words[0], "@-:+!|")
	bin, at := c.lookup(program)
	if bin == nil || bin.typ != vzdump.File {
		c.fail(program, "is missing; %s calls it", bootstrapUnit)
		return
	}
	if bin.mode&0o111 == 0 {
		c.fail(at, "mode %04o, want it executable", bin.mode)
	}
	want, known := machine(c.setting("arch"))
	i := slices.IndexFunc(c.elves, func(b binary) bool { return b.path == at })
	switch {
	case i < 0:
		c.fail(at, "is no ELF program, want a static one: a script depends on what the image has")
	case known && c.elves[i].machine != want:
		c.fail(at, "is for %s, want %s", c.elves[i].machine, want)
	case c.elves[i].interp != "" || len(c.elves[i].needed) > 0:
		c.fail(at, "is linked to %s, want it static", strings.Join(append(c.elves[i].needed, c.elves[i].interp), " "))
	}
}

func checkStamps(c *check) {
	c.noneBelow("var/lib/felhom", "etc/felhom-bootstrap")
	c.absent("opt/docker/felhom-controller/controller.yaml")
}

func checkFirstBootCondition(c *check) {
	if id := c.byPath["etc/machine-id"]; id == nil || string(c.content[id.path]) == "uninitialized\n" {
		return
	}
	u := c.units()
	for _, name := range u.enabledNames() {
		for _, v := range u.load(name).all("Unit", "ConditionFirstBoot") {
			if v == "yes" || v == "true" || v == "1" || v == "on" {
				c.fail(u.enabled[name][0], "has ConditionFirstBoot=yes and never runs: /etc/machine-id is not \"uninitialized\"; use ConditionPathExists=! of a stamp")
			}
		}
	}
}

func checkPresets(c *check) {
	u := c.units()
	all := u.presets()
	expected, also, seen := map[string]preset{}, map[string]bool{}, map[string]bool{}
	for _, dir := range unitDirs() {
		for _, e := range c.entries {
			name := path.Base(e.path)
			if path.Dir(e.path) != dir || e.typ != vzdump.File || !isUnit(name) || seen[name] {
				continue
			}
			seen[name] = true
			// PVE makes and removes the links of both gettys at every start.
			if file, masked := u.find(name); masked || file == nil || strings.Contains(name, "getty@") {
				continue
			}
			f := u.load(name)
			if len(f.list("Install", "WantedBy", "RequiredBy", "UpheldBy", "Alias", "Also")) == 0 {
				continue
			}
			if strings.Contains(name, "@.") && len(f.list("Install", "DefaultInstance")) == 0 {
				continue // a template without a default has nothing to enable
			}
			p := wants(all, name)
			expected[name] = p
			if p.enable {
				for _, other := range f.list("Install", "Also") {
					also[other] = true
				}
			}
		}
	}
	for _, name := range sortedKeys(expected) {
		p := expected[name]
		on := len(u.enabled[name]) > 0
		if strings.Contains(name, "@.") {
			on = slices.ContainsFunc(u.enabledNames(), func(n string) bool { return strings.HasPrefix(n, strings.TrimSuffix(name, path.Ext(name))) })
		}
		unit, _ := u.find(name)
		switch {
		case p.enable && !on && len(u.load(name).list("Install", "WantedBy", "RequiredBy", "UpheldBy", "Alias")) > 0:
			c.fail(unit.path, "is not enabled, and a first boot would enable it (%s: enable %s)", p.from, p.pattern)
		case !p.enable && on && !also[name]:
			c.fail(unit.path, "is enabled, and a first boot would disable it (%s: disable %s)", p.from, p.pattern)
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
	for _, e := range c.entries {
		if e.typ != vzdump.Symlink || !isUnit(path.Base(e.path)) {
			continue
		}
		dir := path.Dir(e.path)
		here := slices.Contains(unitDirs(), dir) || isInstallFolder(dir) && slices.Contains(unitDirs(), path.Dir(dir))
		if to, at := c.lookup(e.path); here && to == nil && at != "dev/null" && at != "dev" {
			c.fail(e.path, "link to %q, and there is no /%s", e.link, at)
		}
	}
}

func checkNetworkOnline(c *check) {
	u := c.units()
	var waiters []string
	for _, dir := range unitDirs() {
		for _, e := range c.below(dir + "/network-online.target.wants") {
			if _, masked := u.find(path.Base(e.path)); !masked && e.link != "/dev/null" {
				waiters = append(waiters, path.Base(e.path))
			}
		}
	}
	slices.Sort(waiters)
	waiters = slices.Compact(waiters)
	own := []string{"networking.service", "ifupdown-wait-online.service"}
	if !c.packages()["ifupdown"] {
		own = []string{"systemd-networkd-wait-online.service", "NetworkManager-wait-online.service"}
	}
	if len(waiters) != 1 || !slices.Contains(own, waiters[0]) {
		c.fail(adminUnits+"/network-online.target.wants", "wanted by %q, want exactly one of %q", waiters, own)
	}
}

func checkMasks(c *check) {
	u := c.units()
	for _, name := range []string{"sys-kernel-config.mount", "sys-kernel-debug.mount", "systemd-journald-audit.socket", "systemd-modules-load.service"} {
		if e, masked := u.find(name); e != nil && !masked {
			c.fail(e.path, "fails in every unprivileged guest, want it masked (a link %s/%s to /dev/null)", adminUnits, name)
		}
	}
}

func checkConsole(c *check) {
	u := c.units()
	if e, masked := u.find("container-getty@.service"); e == nil || masked {
		c.fail(vendorUnits+"/container-getty@.service", "is missing or masked, want it: PVE enables it on /dev/ttyN")
	}
	if _, masked := u.find("getty.target"); masked {
		c.fail(adminUnits+"/getty.target", "is masked, want it")
	}
	for _, name := range []string{"sbin/agetty", "bin/login"} {
		if e, _ := c.lookup(name); e == nil {
			c.fail(name, "is missing: nobody can log in on the console")
		}
	}
}

func checkUnitOrder(c *check) {
	u := c.units()
	// What is pulled in: enabled units and, through them, what they want.
	after, seen := map[string][]string{}, map[string]bool{}
	queue := u.enabledNames()
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		e, _ := u.find(name)
		if e == nil {
			continue
		}
		f := u.load(name)
		after[name] = append(after[name], f.list("Unit", "After")...)
		for _, later := range f.list("Unit", "Before") {
			after[later] = append(after[later], name)
		}
		queue = append(queue, f.list("Unit", "Wants", "Requires", "BindsTo")...)
	}
	if cycle := findCycle(after); cycle != nil {
		c.fail("", "order cycle: %s", strings.Join(cycle, " after "))
	}
	if e, _ := u.find(bootstrapUnit); e != nil {
		// The socket is enough: what is asked of it waits for the engine.
		after := u.load(bootstrapUnit).list("Unit", "After")
		if !slices.Contains(after, "docker.service") && !slices.Contains(after, "docker.socket") {
			c.fail(e.path, "no After=docker.socket nor After=docker.service: it may start before there is an engine to wait for")
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
		if !slices.ContainsFunc(names, func(n string) bool { e, _ := c.lookup(n); return e != nil && e.mode&0o111 != 0 }) {
			c.fail(names[0], "is missing or not executable")
		}
	}
	u := c.units()
	if len(u.enabled["docker.service"]) == 0 && len(u.enabled["docker.socket"]) == 0 {
		c.fail(vendorUnits+"/docker.service", "neither docker.service nor docker.socket is enabled")
	}
	const name = "etc/docker/daemon.json"
	text, ok := c.text(name)
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
	pkgs := c.packages()
	if !pkgs["ifupdown"] && !pkgs["ifupdown2"] && !pkgs["ifupdown-ng"] {
		c.fail("", "no ifupdown, want it: PVE writes /etc/network/interfaces and nothing else")
	}
	if c.asksForDHCP() && !slices.ContainsFunc([]string{"dhcpcd-base", "isc-dhcp-client", "udhcpc", "dhcpcd"}, func(p string) bool { return pkgs[p] }) {
		c.fail("", "pct.conf asks for DHCP and there is no client, want dhcpcd-base")
	}
}
