package verify

import (
	"debug/elf"
	"encoding/hex"
	"path"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

func checkSockets(c *check) {
	for _, e := range c.entries {
		if e.typ == vzdump.Fifo {
			c.fail(e.path, "is a fifo, want none")
		}
	}
}

// setID is Debian's own set-id programs: mode, and name of the owner or group
// that is not root. Names, because the number differs from image to image.
func setID() map[string]struct {
	mode  uint32
	group string
} {
	type want = struct {
		mode  uint32
		group string
	}
	return map[string]want{
		"usr/bin/chfn": {0o4755, "root"}, "usr/bin/chsh": {0o4755, "root"}, "usr/bin/gpasswd": {0o4755, "root"},
		"usr/bin/mount": {0o4755, "root"}, "usr/bin/newgrp": {0o4755, "root"}, "usr/bin/passwd": {0o4755, "root"},
		"usr/bin/su": {0o4755, "root"}, "usr/bin/umount": {0o4755, "root"}, "usr/bin/sudo": {0o4755, "root"},
		"usr/bin/chage": {0o2755, "shadow"}, "usr/bin/expiry": {0o2755, "shadow"}, "usr/sbin/unix_chkpwd": {0o2755, "shadow"},
		"usr/bin/ssh-agent": {0o2755, "_ssh"}, "usr/bin/crontab": {0o2755, "crontab"},
		"usr/lib/openssh/ssh-keysign":                {0o4755, "root"},
		"usr/lib/dbus-1.0/dbus-daemon-launch-helper": {0o4754, "messagebus"},
	}
}

func checkSetID(c *check) {
	groups := map[string]string{}
	c.eachLine("etc/group", func(_ int, f []string) {
		if len(f) > 2 {
			groups[f[2]] = f[0]
		}
	})
	known := setID()
	for _, e := range c.entries {
		if e.typ != vzdump.File || e.mode&0o6000 == 0 || allowed(c.opts.Allow.SetID, e.path) {
			continue
		}
		want, ok := known[merged(e.path)]
		group := groups[strconv.Itoa(e.gid)]
		switch {
		case !ok:
			c.fail(e.path, "set-id program (mode %04o, owner %d:%d) that is not on the list: remove it, or name it in allow.set_id of the recipe", e.mode, e.uid, e.gid)
		case e.mode != want.mode || e.uid != 0 || group != want.group:
			c.fail(e.path, "mode %04o, owner %d, group %q; want %04o, 0, %q", e.mode, e.uid, group, want.mode, want.group)
		}
	}
}

// merged is a path as it is after the usr merge.
func merged(name string) string {
	for _, dir := range []string{"bin/", "sbin/", "lib/", "lib64/"} {
		if strings.HasPrefix(name, dir) {
			return "usr/" + name
		}
	}
	return name
}

func checkWorldWritable(c *check) {
	for _, e := range c.entries {
		if e.mode&0o002 == 0 || e.typ == vzdump.Symlink || e.typ == vzdump.Link || e.typ == vzdump.Char || allowed(c.opts.Allow.WorldWritable, e.path) {
			continue
		}
		scratch := e.path == "tmp" || e.path == "var/tmp" || e.path == "run/lock"
		if !scratch || e.mode&0o1000 == 0 {
			c.fail(e.path, "%s of mode %04o, want it closed to others", e.typ, e.mode)
		}
	}
}

func checkCapabilities(c *check) {
	for _, e := range c.entries {
		if caps := e.caps; e.hasCaps && merged(e.path) != "usr/bin/ping" && !allowed(c.opts.Allow.Capabilities, e.path) {
			c.fail(e.path, "file capabilities %s, want none that are not on the list", hex.EncodeToString([]byte(caps)))
		}
	}
}

func checkSymlinks(c *check) {
	for _, e := range c.entries {
		if e.typ != vzdump.Symlink {
			continue
		}
		depth := strings.Count(e.path, "/")
		for elem := range strings.SplitSeq(e.link, "/") {
			if strings.HasPrefix(e.link, "/") {
				depth = 1 << 20
			}
			switch elem {
			case "..":
				depth--
			case "", ".":
			default:
				depth++
			}
			if depth < 0 {
				c.fail(e.path, "link to %q climbs out of the root", e.link)
				break
			}
		}
		if to, at := c.lookup(e.path); to == nil && c.byPath[at] != nil && c.byPath[at].typ == vzdump.Symlink {
			c.fail(e.path, "link to %q is a loop", e.link)
		}
	}
}

func checkDangling(c *check) {
	for _, e := range c.entries {
		looked := false
		for _, dir := range []string{"etc", "bin", "sbin", "usr/bin", "usr/sbin", "usr/lib", "usr/local"} {
			looked = looked || inFolder(dir, e.path)
		}
		// Debian ships these three to nowhere: they wait for a package.
		known := allowed([]string{"etc/vconsole.conf", "etc/modules-load.d/modules.conf", "etc/default/locale"}, e.path)
		if e.typ != vzdump.Symlink || !looked || known || strings.Contains(e.path, "systemd/system/") || allowed(c.opts.Allow.Dangling, e.path) {
			continue
		}
		to, at := c.lookup(e.path)
		live := false
		for _, dir := range []string{"run", "proc", "dev", "sys", "tmp"} {
			live = live || at == dir || inFolder(dir, at)
		}
		if to == nil && !live && c.byPath[at] == nil {
			c.fail(e.path, "link to %q, and there is no /%s", e.link, at)
		}
	}
}

func checkMountPoints(c *check) {
	for _, want := range []struct {
		name  string
		modes []uint32
	}{
		{"dev", []uint32{0o755}},
		{"proc", []uint32{0o555, 0o755}},
		{"run", []uint32{0o755}},
		{"sys", []uint32{0o555, 0o755}},
		{"tmp", []uint32{0o1777}},
		{"var/tmp", []uint32{0o1777}},
	} {
		switch e := c.byPath[want.name]; {
		case e == nil:
			c.fail(want.name, "is missing, want a folder of mode %04o", want.modes[0])
		case e.typ != vzdump.Dir || e.uid != 0 || e.gid != 0 || e.mode != want.modes[0] && e.mode != want.modes[len(want.modes)-1]:
			c.fail(want.name, "is a %s of mode %04o, owner %d:%d; want a folder, %04o, 0:0", e.typ, e.mode, e.uid, e.gid, want.modes[0])
		}
	}
}

// machine is the ELF machine of an architecture of pct.conf.
func machine(arch string) (elf.Machine, bool) {
	m, ok := map[string]elf.Machine{
		"amd64": elf.EM_X86_64, "i386": elf.EM_386, "arm64": elf.EM_AARCH64, "armhf": elf.EM_ARM, "riscv32": elf.EM_RISCV, "riscv64": elf.EM_RISCV,
	}[arch]
	return m, ok
}

func checkBinaries(c *check) {
	want, known := machine(c.setting("arch"))
	libraries := map[string]bool{}
	for _, e := range c.entries {
		if strings.Contains(path.Base(e.path), ".so") {
			if to, _ := c.lookup(e.path); to != nil {
				libraries[path.Base(e.path)] = true
			}
		}
	}
	for _, b := range c.elves {
		switch {
		case b.bad != "":
			c.fail(b.path, "starts like an ELF file and is none: %s", b.bad)
			continue
		case known && b.machine != want:
			c.fail(b.path, "is for %s, want %s", b.machine, want)
			continue
		}
		if b.interp != "" {
			if to, _ := c.lookup(b.interp); to == nil {
				c.fail(b.path, "its loader %s is not in the archive", b.interp)
			}
		}
		for _, lib := range b.needed {
			if !libraries[path.Base(lib)] {
				c.fail(b.path, "needs %s, which is not in the archive", lib)
			}
		}
	}
}

func checkPackageFiles(c *check) {
	owned := map[string]bool{}
	for _, e := range c.entries {
		if !inFolder("var/lib/dpkg/info", e.path) || !strings.HasSuffix(e.path, ".md5sums") {
			continue
		}
		pkg := strings.TrimSuffix(path.Base(e.path), ".md5sums")
		for line := range strings.Lines(string(c.content[e.path])) {
			sum, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "  ")
			name = merged(name)
			if !ok {
				continue
			}
			owned[name] = true
			if f := c.byPath[name]; f != nil && f.hashed && hex.EncodeToString(f.md5[:]) != sum {
				c.fail(name, "is not what package %s brought", pkg)
			}
		}
	}
	if len(owned) == 0 {
		return // no dpkg, or none that keeps sums: nothing to compare with
	}
	for _, e := range c.entries {
		name := merged(e.path)
		program := path.Dir(name) == "usr/bin" || path.Dir(name) == "usr/sbin"
		if program && e.typ == vzdump.File && !owned[name] && !strings.HasPrefix(path.Base(name), "felhom-") && !allowed(c.opts.Allow.Programs, e.path) {
			c.fail(e.path, "no package owns it")
		}
	}
}
