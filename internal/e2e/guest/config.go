package guest

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// config is the guest's liblxc configuration: what PVE gives to an
// unprivileged guest with nesting and keyctl.
func (g *Guest) config() string {
	var b strings.Builder
	for _, part := range []string{"common", "userns", "nesting"} {
		fmt.Fprintf(&b, "lxc.include = /usr/share/lxc/config/%s.conf\n", part)
	}
	fmt.Fprintf(&b, `lxc.apparmor.profile = unconfined
lxc.mount.auto =
lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
lxc.idmap = u 0 %[1]d %[2]d
lxc.idmap = g 0 %[1]d %[2]d
lxc.rootfs.path = dir:%[3]s
lxc.uts.name = %[4]s
lxc.tty.max = 1
lxc.pty.max = 64
lxc.net.0.type = veth
lxc.net.0.link = %[5]s
lxc.net.0.name = eth0
lxc.net.0.flags = up
`, IDMapBase, idMapSize, g.Rootfs(), g.s.Name, g.s.Bridge)
	if g.s.ConfigMount != "" {
		fmt.Fprintf(&b, "lxc.mount.entry = %s etc/felhom-bootstrap none bind,ro,create=dir 0 0\n", g.s.ConfigMount)
	}
	return b.String()
}

// writeFiles writes the files that PVE writes into a Debian guest before each
// start. The name server list stays empty: no name is needed, and one that does
// not answer keeps the engine waiting for minutes.
func (g *Guest) writeFiles() (err error) {
	root, err := os.OpenRoot(g.Rootfs())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for path, text := range map[string]string{
		"etc/hostname": g.s.Name + "\n",
		"etc/hosts":    fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n%s %s\n", g.s.Address.Addr(), g.s.Name),
		"etc/network/interfaces": fmt.Sprintf("auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\taddress %s\n",
			g.s.Address),
	} {
		if err := errors.Join(root.WriteFile(path, []byte(text), 0o644), root.Lchown(path, IDMapBase, IDMapBase)); err != nil {
			return err
		}
	}
	return nil
}
