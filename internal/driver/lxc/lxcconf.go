package lxc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// maxConsoleFile bounds the console's log; beyond that liblxc starts a new one.
const maxConsoleFile = 1 << 20

// writeLXC writes liblxc's configuration of guest vmid from its pct.conf into
// root, the guest's final or partial directory.
func (d *Driver) writeLXC(root *os.Root, vmid int, c *pctconf.Config) error {
	text, err := d.lxcConfig(vmid, c)
	if err != nil {
		return err
	}
	if err := atomicfile.Sweep(root, lxcFile); err != nil { // of killed changes
		return err
	}
	_, err = atomicfile.WriteIfChanged(root, lxcFile, []byte(text), atomicfile.Attr{Mode: 0o644})
	return err
}

// lxcConfig returns the settings that PVE makes for an unprivileged guest with
// nesting and keyctl, as far as this host supports them.
func (d *Driver) lxcConfig(vmid int, c *pctconf.Config) (string, error) {
	ids, err := idMap(c)
	if err != nil {
		return "", err
	}
	g, err := driver.GuestOf(vmid, c)
	if err != nil {
		return "", err
	}
	net := g.Net
	var b strings.Builder
	line := func(key, format string, args ...any) { fmt.Fprintf(&b, key+" = "+format+"\n", args...) }
	b.WriteString("# Written from pct.conf by felhom-agentd; changes here are lost.\n")
	for _, part := range []string{"common", "userns", "nesting"} {
		line("lxc.include", "%s", filepath.Join(d.o.ConfigDir, part+".conf"))
	}
	d.apparmor(line)
	line("lxc.mount.auto", "")
	line("lxc.mount.auto", "proc:mixed sys:mixed cgroup:mixed")
	for _, r := range ids.UIDs {
		line("lxc.idmap", "u %d %d %d", r.Guest, r.Host, r.Count)
	}
	for _, r := range ids.GIDs {
		line("lxc.idmap", "g %d %d %d", r.Guest, r.Host, r.Count)
	}
	line("lxc.rootfs.path", "dir:%s", filepath.Join(d.dir(vmid), rootfsDir))
	line("lxc.uts.name", "%s", firstLabel(g.Hostname, vmid))
	line("lxc.tty.max", "2")
	line("lxc.pty.max", "1024")
	line("lxc.console.logfile", "%s", filepath.Join(d.dir(vmid), consoleFile))
	line("lxc.console.size", "%d", maxConsoleFile) // without it a guest can fill this host's disk
	onBoot := 0
	if g.OnBoot {
		onBoot = 1
	}
	line("lxc.start.auto", "%d", onBoot)
	if net.Bridge != "" {
		line("lxc.net.0.type", "veth")
		line("lxc.net.0.link", "%s", net.Bridge)
		// Else liblxc takes a random name, and the port does not show its guest.
		line("lxc.net.0.veth.pair", "%s", driver.PortName(vmid, 0))
		line("lxc.net.0.name", "%s", net.Name)
		if !net.LinkDown {
			line("lxc.net.0.flags", "up")
		}
		line("lxc.net.0.hwaddr", "%s", net.MAC)
		if net.VLAN != 0 {
			line("lxc.net.0.veth.vlan.id", "%d", net.VLAN)
		}
		if net.MTU != 0 {
			line("lxc.net.0.mtu", "%d", net.MTU)
		}
	} else {
		line("lxc.net.0.type", "empty")
	}
	d.limits(line, c)
	for _, m := range g.Mounts {
		options := "bind,create=dir,nosuid,nodev"
		if m.ReadOnly {
			options += ",ro"
		}
		line("lxc.mount.entry", "%s %s none %s 0 0", escape(m.Source), escape(strings.TrimPrefix(m.Target, "/")), options)
	}
	return b.String(), nil
}

func firstLabel(hostname string, vmid int) string {
	if hostname == "" {
		return "CT" + strconv.Itoa(vmid)
	}
	label, _, _ := strings.Cut(hostname, ".")
	return label
}

// apparmor uses the profile that liblxc makes for each guest, as PVE does;
// nesting.conf's own does not exist on every Debian.
func (d *Driver) apparmor(line func(key, format string, args ...any)) {
	if _, err := os.Stat(filepath.Join(d.o.SysDir, "kernel/security/apparmor")); err != nil {
		line("lxc.apparmor.profile", "unconfined")
		return
	}
	line("lxc.apparmor.profile", "generated")
	line("lxc.apparmor.allow_nesting", "1")
}

// limits sets those whose controller the host has: liblxc refuses to start a
// guest with a limit that it cannot set.
func (d *Driver) limits(line func(key, format string, args ...any), c *pctconf.Config) {
	controllers := d.controllers()
	number := func(key string) int64 {
		text, _ := c.Get(key)
		n, _ := strconv.ParseInt(text, 10, 64) // Parse has checked it; absent is 0
		return n
	}
	const mib = 1 << 20
	if memory := number("memory"); memory > 0 && slices.Contains(controllers, "memory") {
		line("lxc.cgroup2.memory.max", "%d", memory*mib)
		if _, ok := c.Get("swap"); ok {
			line("lxc.cgroup2.memory.swap.max", "%d", number("swap")*mib)
		}
	}
	if cores := number("cores"); cores > 0 && slices.Contains(controllers, "cpu") {
		const period = 100_000
		line("lxc.cgroup2.cpu.max", "%d %d", cores*period, period)
	}
}

// controllers returns those of the unified hierarchy, wherever it is mounted.
func (d *Driver) controllers() []string {
	for _, name := range []string{"fs/cgroup/cgroup.controllers", "fs/cgroup/unified/cgroup.controllers"} {
		data, err := os.ReadFile(filepath.Join(d.o.SysDir, name))
		if err == nil {
			return strings.Fields(string(data))
		}
	}
	return nil
}

// escape writes a path as fstab(5) does.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`, "#", `\043`).Replace(path)
}

// guestFiles writes the files that PVE writes into a Debian guest. It is done
// once, before the first start: from then on the root belongs to the guest, and
// nothing of this host writes into it again.
func guestFiles(rootfs string, vmid int, c *pctconf.Config) (err error) {
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	ids, err := idMap(c)
	if err != nil {
		return err
	}
	net, err := netOf(c)
	if err != nil {
		return err
	}
	hostname, _ := c.Get("hostname")
	name := firstLabel(hostname, vmid)
	own := "127.0.1.1"
	switch {
	case net.IP.IsFixed():
		own = net.IP.Prefix.Addr().String()
	case net.IP6.IsFixed():
		own = net.IP6.Prefix.Addr().String()
	}
	names := name
	if hostname != "" && hostname != name {
		names = hostname + " " + name
	}
	files := map[string]string{
		"etc/hostname": name + "\n",
		"etc/hosts":    "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + own + " " + names + "\n",
	}
	if _, err := root.Stat("etc/network"); err == nil && net.Bridge != "" {
		files["etc/network/interfaces"] = interfaces(net)
	}
	if servers, ok := c.Get("nameserver"); ok {
		text := ""
		if search, ok := c.Get("searchdomain"); ok {
			text = "search " + search + "\n"
		}
		for server := range strings.FieldsSeq(servers) {
			text += "nameserver " + server + "\n"
		}
		files["etc/resolv.conf"] = text
	}
	uid, gid := ids.Root()
	for path, text := range files {
		// Removed first: an image may have a link there.
		if err := root.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := errors.Join(root.WriteFile(path, []byte(text), 0o644), root.Lchown(path, uid, gid), root.Chmod(path, 0o644)); err != nil {
			return err
		}
	}
	return nil
}
