package verify

import (
	"crypto/md5" //nolint:gosec // the length of dpkg's digests
	"debug/elf"
	"encoding/hex"
	"path"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func checkSockets(c *check) {
	for _, e := range c.Entries {
		if e.Type == vzdump.Fifo {
			c.fail(e.Path, "is a fifo, want none")
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
	for _, e := range c.Entries {
		if e.Type != vzdump.File || e.Mode&0o6000 == 0 || allowed(c.opts.Allow.SetID, e.Path) {
			continue
		}
		want, ok := known[merged(e.Path)]
		group := groups[strconv.Itoa(e.GID)]
		switch {
		case !ok:
			c.fail(e.Path, "set-id program (mode %04o, owner %d:%d) that is not on the list: remove it, or name it in allow.set_id of the recipe", e.Mode, e.UID, e.GID)
		case e.Mode != want.mode || e.UID != 0 || group != want.group:
			c.fail(e.Path, "mode %04o, owner %d, group %q; want %04o, 0, %q", e.Mode, e.UID, group, want.mode, want.group)
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
	for _, e := range c.Entries {
		if e.Mode&0o002 == 0 || e.Type == vzdump.Symlink || e.Type == vzdump.Link || e.Type == vzdump.Char || allowed(c.opts.Allow.WorldWritable, e.Path) {
			continue
		}
		scratch := e.Path == "tmp" || e.Path == "var/tmp" || e.Path == "run/lock"
		if !scratch || e.Mode&0o1000 == 0 {
			c.fail(e.Path, "%s of mode %04o, want it closed to others", e.Type, e.Mode)
		}
	}
}

func checkCapabilities(c *check) {
	for _, e := range c.Entries {
		if value, ok := e.Capability(); ok && merged(e.Path) != "usr/bin/ping" && !allowed(c.opts.Allow.Capabilities, e.Path) {
			c.fail(e.Path, "file capabilities %s, want none that are not on the list", hex.EncodeToString([]byte(value)))
		}
	}
}

func checkSymlinks(c *check) {
	for _, e := range c.Entries {
		if e.Type != vzdump.Symlink {
			continue
		}
		depth := strings.Count(e.Path, "/")
		for elem := range strings.SplitSeq(e.Link, "/") {
			if strings.HasPrefix(e.Link, "/") {
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
				c.fail(e.Path, "link to %q climbs out of the root", e.Link)
				break
			}
		}
		if to, at := c.Lookup(e.Path); to == nil && c.ByPath[at] != nil && c.ByPath[at].Type == vzdump.Symlink {
			c.fail(e.Path, "link to %q is a loop", e.Link)
		}
	}
}

func checkDangling(c *check) {
	for _, e := range c.Entries {
		looked := false
		for _, dir := range []string{"etc", "bin", "sbin", "usr/bin", "usr/sbin", "usr/lib", "usr/local"} {
			looked = looked || image.IsBelow(dir, e.Path)
		}
		// Debian ships these three to nowhere: they wait for a package.
		known := allowed([]string{"etc/vconsole.conf", "etc/modules-load.d/modules.conf", "etc/default/locale"}, e.Path)
		if e.Type != vzdump.Symlink || !looked || known || strings.Contains(e.Path, "systemd/system/") || allowed(c.opts.Allow.Dangling, e.Path) {
			continue
		}
		to, at := c.Lookup(e.Path)
		live := false
		for _, dir := range []string{"run", "proc", "dev", "sys", "tmp"} {
			live = live || at == dir || image.IsBelow(dir, at)
		}
		if to == nil && !live && c.ByPath[at] == nil {
			c.fail(e.Path, "link to %q, and there is no /%s", e.Link, at)
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
	for _, e := range c.Entries {
		if strings.Contains(path.Base(e.Path), ".so") {
			if to, _ := c.Lookup(e.Path); to != nil {
				libraries[path.Base(e.Path)] = true
			}
		}
	}
	for _, b := range c.binaries {
		switch {
		case b.Bad != "":
			c.fail(b.Path, "starts like an ELF file and is not one: %s", b.Bad)
			continue
		case known && b.Machine != want:
			c.fail(b.Path, "is for %s, want %s", b.Machine, want)
			continue
		}
		if b.Interp != "" {
			if to, _ := c.Lookup(b.Interp); to == nil {
				c.fail(b.Path, "its loader %s is not in the archive", b.Interp)
			}
		}
		for _, lib := range b.Needed {
			if !libraries[path.Base(lib)] {
				c.fail(b.Path, "needs %s, which is not in the archive", lib)
			}
		}
	}
}

func checkPackageFiles(c *check) {
	owned := map[string]bool{}
	for _, e := range c.Entries {
		if !image.IsBelow("var/lib/dpkg/info", e.Path) || !strings.HasSuffix(e.Path, ".md5sums") {
			continue
		}
		pkg := strings.TrimSuffix(path.Base(e.Path), ".md5sums")
		for line := range strings.Lines(string(c.Content[e.Path])) {
			sum, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "  ")
			name = merged(name)
			if !ok {
				continue
			}
			owned[name] = true
			if f := c.ByPath[name]; f != nil && f.Hashed && hex.EncodeToString(f.Digest[:md5.Size]) != sum {
				c.fail(name, "is not what package %s brought", pkg)
			}
		}
	}
	if len(owned) == 0 {
		return // no dpkg, or none that keeps sums: nothing to compare with
	}
	for _, e := range c.Entries {
		name := merged(e.Path)
		program := path.Dir(name) == "usr/bin" || path.Dir(name) == "usr/sbin"
		if program && e.Type == vzdump.File && !owned[name] && !strings.HasPrefix(path.Base(name), "felhom-") && !allowed(c.opts.Allow.Programs, e.Path) {
			c.fail(e.Path, "no package owns it")
		}
	}
}
