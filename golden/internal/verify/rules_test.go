package verify_test

import (
	"archive/tar"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/fault"
)

// broken is a good archive with one thing wrong.
type broken struct {
	rule string
	what string // in the message or path of one of the rule's findings
	spot func(*sample, *verify.Options)
	also []string // other rules that the same thing breaks
}

func key(name, body string) string {
	return "-----BEGIN " + name + "PRIVATE KEY-----\n" + strings.Repeat(body, 10) + "\n-----END " + name + "PRIVATE KEY-----\n"
}

const unitDir = "usr/lib/systemd/system/"

func file(path, text string) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) { s.put(path, 0o644, text) }
}

func containerFile(text string) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) {
		s.dir("etc/felhom", 0o755)
		s.put("etc/felhom/controller-container.yaml", 0o644, text)
	}
}

func config(old, text string) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) { s.replace("etc/vzdump/pct.conf", old, text) }
}

func without(paths ...string) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) {
		for _, p := range paths {
			delete(s.members, p)
		}
	}
}

func directory(path string, mode int64) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) { s.dir(path, mode) }
}

// withTable adds the archive's own table of contents, as edit has it.
func withTable(edit func(string) string) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) { s.putTable(edit) }
}

func link(path, target string) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) { s.link(path, target) }
}

func header(path string, edit func(*tar.Header)) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) { edit(s.members[path]) }
}

func both(a, b func(*sample, *verify.Options)) func(*sample, *verify.Options) {
	return func(s *sample, o *verify.Options) { a(s, o); b(s, o) }
}

func record(name, value string) func(*tar.Header) {
	return func(h *tar.Header) { h.PAXRecords = map[string]string{name: value} }
}

func brokenSamples() []broken {
	return []broken{
		{rule: "archive-name", what: "want vzdump-lxc", spot: func(s *sample, _ *verify.Options) { s.name = "golden.tar.zst" }},
		{rule: "zstd-frame", what: "checksum", spot: func(s *sample, _ *verify.Options) { s.options = append(s.options, zstd.WithEncoderCRC(false)) }},
		{rule: "zstd-frame", what: "skippable", spot: func(s *sample, _ *verify.Options) { s.tail = []byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4} }},
		{rule: "zstd-frame", what: "compression is zstd, and the end of its name says none", spot: func(s *sample, _ *verify.Options) { s.name = strings.TrimSuffix(s.name, ".zst") }},
		{rule: "zstd-frame", what: "says gzip", spot: func(s *sample, _ *verify.Options) { s.name = strings.TrimSuffix(s.name, ".zst") + ".gz" }},
		{rule: "archive-hash", what: "want aaaa", spot: func(_ *sample, o *verify.Options) { o.SHA256 = strings.Repeat("a", 64) }},
		{rule: "config-first", what: "no ./etc/vzdump/pct.conf", spot: without("etc/vzdump/pct.conf"), also: []string{"host-name"}},
		{rule: "config-first", what: "nothing but", spot: file("etc/vzdump/other", "x"), also: []string{"parent-directories"}},
		{rule: "config-first", what: "not the first", spot: func(s *sample, _ *verify.Options) {
			text := s.data["etc/vzdump/pct.conf"]
			delete(s.members, "etc/vzdump/pct.conf")
			s.extra = append(s.extra, &tar.Header{Typeflag: tar.TypeReg, Name: "./etc/vzdump/pct.conf", Mode: 0o644, Size: int64(len(text))})
		}, also: []string{"guest-config", "host-name"}},
		{rule: "contents", what: "want version 1", spot: withTable(func(text string) string { return strings.Replace(text, `"version":1`, `"version":2`, 1) })},
		{rule: "contents", what: "unexpected", spot: withTable(func(text string) string { return text[:len(text)/2] })},
		{rule: "contents", what: "want a table of contents of at most", spot: withTable(func(text string) string { return text + strings.Repeat(" ", 1<<20) })},
		{rule: "contents", what: "a symlink", spot: both(directory("etc/felhom", 0o755), link("etc/felhom/contents.json", "../hostname"))},
		{rule: "contents", what: `the system is`, spot: withTable(func(text string) string { return strings.Replace(text, `"id":"debian"`, `"id":"ubuntu"`, 1) })},
		{rule: "contents", what: `units: 8 in the table, 9 in the archive; number 2 is "docker.service enabled" in the table, "default.target alias"`, spot: withTable(func(text string) string {
			return strings.Replace(text, `{"name":"default.target","state":"alias"},`, "", 1)
		})},
		{rule: "contents", what: `"apt 6.6.6 "`, spot: withTable(func(text string) string {
			return strings.Replace(text, `{"name":"apt","version":""`, `{"name":"apt","version":"6.6.6"`, 1)
		})},
		{rule: "contents", what: "images: 1 in the table, 0 in the archive", spot: withTable(func(text string) string {
			return strings.Replace(text, `"images":[]`, `"images":[{"reference":"a","config_digest":"","file":""}]`, 1)
		})},
		{rule: "contents", what: `members of kind "file": 1`, spot: withTable(func(text string) string { return strings.Replace(text, `"file":`, `"file":1`, 1) })},
		{rule: "contents", what: "bytes in the table", spot: withTable(func(text string) string { return strings.Replace(text, `"content_bytes":`, `"content_bytes":1`, 1) })},
		{rule: "contents", what: "directories:", spot: withTable(func(text string) string {
			return strings.Replace(text, `{"path":"/usr/bin"`, `{"path":"/usr/bon"`, 1)
		})},
		{rule: "contents", what: "problems: 1 in the table", spot: withTable(func(text string) string { return strings.Replace(text, `"problems":[]`, `"problems":["x"]`, 1) })},
		{rule: "guest-firewall", what: "pct.fw", spot: file("etc/vzdump/pct.fw", "[OPTIONS]\n")},
		{rule: "guest-config", what: "no key memory", spot: config("memory: 2048\n", "")},
		{rule: "guest-config", what: "want a volume with size=", spot: config(",size=8G", "")},
		{rule: "guest-config", what: "lxc.apparmor", spot: config("swap", "lxc.apparmor.profile: unconfined\nswap")},
		{rule: "guest-config", what: "mp0", spot: config("swap", "mp0: /srv,mp=/srv\nswap")},
		{rule: "guest-config", what: "hwaddr", spot: config("type=veth", "hwaddr=BC:24:11:00:00:01,type=veth")},
		{rule: "guest-config", what: "[snap]", spot: config("unprivileged: 1\n", "unprivileged: 1\n[snap]\narch: amd64\n")},
		{rule: "guest-config", what: "want 1", spot: config("unprivileged: 1", "unprivileged: 0")},
		{rule: "guest-config", what: "nesting=1", spot: config("nesting=1", "nesting=0")},
		{rule: "guest-config", what: "\"swap 512\"", spot: config("swap: 512", "swap 512")},
		{rule: "rootfs-size", what: "want at least 51", spot: config("8G", "400M")},
		{rule: "size-budget", what: "members, want at most 5", spot: func(_ *sample, o *verify.Options) { o.MaxEntries = 5 }},
		{rule: "member-names", what: "there before", spot: func(s *sample, _ *verify.Options) {
			s.extra = []*tar.Header{{Typeflag: tar.TypeReg, Name: "./etc/hostname", Mode: 0o644}}
		}},
		{rule: "member-names", what: "control characters", spot: file("opt/a\nb", "x")},
		{rule: "member-order", what: "sorted runs", spot: func(s *sample, _ *verify.Options) {
			for _, n := range []string{"./opt/c", "./opt/b", "./opt/a"} {
				s.extra = append(s.extra, &tar.Header{Typeflag: tar.TypeReg, Name: n, Mode: 0o644})
			}
		}},
		{rule: "member-order", what: "want numbers only", spot: header("opt", func(h *tar.Header) { h.Uname = "me" })},
		{rule: "parent-directories", what: "no member for its directory", spot: file("opt/missing/x", "x")},
		{rule: "parent-directories", what: "0750", spot: directory("etc", 0o750)},
		{rule: "member-types", what: "standard", spot: header("opt", record("VENDOR.x", "1"))},
		{rule: "times", what: "fraction", spot: header("opt", func(h *tar.Header) { h.ModTime = time.Unix(1700000000, 5e8) })},
		{rule: "times", what: "none after", spot: header("opt", func(h *tar.Header) { h.ModTime = h.ModTime.AddDate(2030, 0, 0) })},
		{rule: "times", what: "access or change", spot: header("opt", func(h *tar.Header) { h.AccessTime = time.Unix(1700000000, 0) })},
		{rule: "id-range", what: "0 to 65535", spot: header("opt", func(h *tar.Header) { h.Uid = 100000 })},
		{rule: "extended-attributes", what: "restore drops it", spot: header("opt", record("SCHILY.xattr.trusted.x", "1"))},
		{rule: "hard-links", what: "restore fails", spot: func(s *sample, _ *verify.Options) {
			s.members["opt/x"] = &tar.Header{Typeflag: tar.TypeLink, Linkname: "./opt/none"}
		}},
		{rule: "device-nodes", what: "mknod", spot: func(s *sample, _ *verify.Options) {
			s.members["opt/x"] = &tar.Header{Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o600}
		}},
		{rule: "device-nodes", what: "below /dev", spot: directory("dev/pts", 0o755)},
		{rule: "debian-version", what: "want MAJOR", spot: file("etc/debian_version", "thirteen\n")},
		{rule: "debian-version", what: "want the ostype", spot: config("ostype: debian", "ostype: alpine")},
		{rule: "root-layout", what: "leads to nothing", spot: without("sbin"), also: []string{"init", "console"}},

		{rule: "machine-id", what: "holds an id", spot: file("etc/machine-id", "0123456789abcdef0123456789abcdef\n")},
		{rule: "machine-id", what: "is missing", spot: without("etc/machine-id")},
		{rule: "dbus-machine-id", what: "want nothing or a link", spot: both(directory("var/lib/dbus", 0o755), file("var/lib/dbus/machine-id", "x"))},
		{rule: "ssh-host-keys", what: "ssh_host_rsa_key", spot: both(directory("etc/ssh", 0o755), file("etc/ssh/ssh_host_rsa_key", "x"))},
		{rule: "ssh-host-keys", what: "ssh-keygen", spot: func(s *sample, _ *verify.Options) {
			s.replace("var/lib/dpkg/status", "Package: apt\n", "Package: openssh-server\nStatus: install ok installed\n\nPackage: apt\n")
		}},
		{rule: "ssh-access", what: "authorized_keys", spot: both(directory("root/.ssh", 0o700), file("root/.ssh/authorized_keys", "x"))},
		{rule: "passwords", what: "empty password", spot: file("etc/shadow", "root::1::::::\n")},
		{rule: "passwords", what: "has a password", spot: file("etc/shadow", "root:*:1::::::\nme:$y$j9T$x:1::::::\n")},
		{rule: "passwords", what: "uid 0", spot: file("etc/passwd", "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n")},
		{rule: "account-backups", what: "shadow-", spot: file("etc/shadow-", "x")},
		{rule: "seeds", what: "random-seed", spot: both(directory("var/lib/systemd", 0o755), file("var/lib/systemd/random-seed", "x"))},
		{rule: "engine-state", what: "engine-id", spot: both(directory("var/lib/docker", 0o710), file("var/lib/docker/engine-id", "x"))},
		{rule: "tls-keys", what: "private", spot: func(s *sample, _ *verify.Options) {
			s.dir("etc/ssl", 0o755)
			s.dir("etc/ssl/private", 0o710)
			s.put("etc/ssl/private/a.key", 0o600, "x")
		}},
		{rule: "credentials", what: ".docker", spot: directory("root/.docker", 0o700)},
		{rule: "credentials", what: "auth.conf", spot: file("etc/apt/auth.conf", "x")},
		{rule: "secrets", what: "a private key", spot: file("opt/a.pem", key("RSA ", "QUJDREVGR0"))},
		{rule: "secrets", what: "a token of the local API", spot: file("opt/a", "fgt_8200_"+strings.Repeat("aB3", 16)+"x")},
		{rule: "secrets", what: "a registry login", spot: file("opt/config.json", `{"auths":{"r.example":{"auth":"YWRtaW46c2VjcmV0"}}}`)},
		{rule: "secrets", what: "a login in a URL", spot: file("etc/x.conf", "url=https://me:hunter22@host.example/\n")},
		{rule: "secrets", what: "a GitHub token", spot: file("usr/share/x", "ghp_"+strings.Repeat("a1B2", 9))},
		{rule: "secrets", what: "an AWS access key", spot: file("etc/x", "AKIA"+strings.Repeat("A1B2", 4))},
		{rule: "cluster-state", what: "tailscaled.state", spot: both(directory("var/lib/tailscale", 0o700), file("var/lib/tailscale/tailscaled.state", "x"))},
		{rule: "host-name", what: "buildhost", spot: file("etc/hostname", "buildhost\n")},
		{rule: "host-name", what: "want localhost only", spot: file("etc/hosts", "127.0.1.1 buildhost\n")},
		{rule: "host-name", what: "mailname", spot: file("etc/mailname", "x\n")},
		{rule: "resolv-conf", what: "names a resolver", spot: file("etc/resolv.conf", "nameserver 192.0.2.1\n")},
		{rule: "leases", what: "eth0.lease", spot: both(directory("var/lib/dhcpcd", 0o755), file("var/lib/dhcpcd/eth0.lease", "x"))},
		{rule: "cron-minutes", what: "line 1", spot: file("etc/crontab", "17 * * * * root run-parts /etc/cron.hourly\n")},

		{rule: "logs", what: "dpkg.log", spot: file("var/log/dpkg.log", "")},
		{rule: "logs", what: "wtmp", spot: file("var/log/wtmp", "x")},
		{rule: "apt-caches", what: "pkgcache.bin", spot: both(directory("var/cache/apt", 0o755), file("var/cache/apt/pkgcache.bin", "x"))},
		{rule: "unstable-caches", what: "aux-cache", spot: both(directory("var/cache/ldconfig", 0o700), file("var/cache/ldconfig/aux-cache", "x"))},
		{rule: "dpkg-backups", what: "status-old", spot: file("var/lib/dpkg/status-old", "x")},
		{rule: "packages-complete", what: "half-configured", spot: func(s *sample, _ *verify.Options) {
			s.replace("var/lib/dpkg/status", "Package: apt\nStatus: install ok installed", "Package: apt\nStatus: install ok half-configured")
		}, also: nil},
		{rule: "packages-complete", what: "triggers to run", spot: func(s *sample, _ *verify.Options) {
			s.replace("var/lib/dpkg/status", "Package: apt\n", "Package: apt\nTriggers-Pending: ldconfig\n")
		}},
		{rule: "packages-complete", what: "is missing", spot: without("var/lib/dpkg/status"), also: []string{"network-tools", "network-online"}},
		{rule: "service-guards", what: "policy-rc.d", spot: both(file("usr/sbin/policy-rc.d", "exit 101"), func(_ *sample, o *verify.Options) { o.Allow.Programs = []string{"usr/sbin/policy-rc.d"} })},
		{rule: "service-guards", what: "diverted", spot: file("var/lib/dpkg/diversions", "/sbin/start-stop-daemon\n/sbin/start-stop-daemon.REAL\n:\n")},
		{rule: "scratch-folders", what: ".tmpfs", spot: file("tmp/.tmpfs", "")},
		{rule: "home-residue", what: ".bash_history", spot: file("root/.bash_history", "x")},
		{rule: "builder-settings", what: "99mmdebstrap", spot: func(s *sample, _ *verify.Options) {
			s.dir("etc/dpkg", 0o755)
			s.dir("etc/dpkg/dpkg.cfg.d", 0o755)
			s.put("etc/dpkg/dpkg.cfg.d/99mmdebstrap", 0o644, "force-unsafe-io\n")
		}},
		{rule: "apt-sources", what: "snapshot", spot: file("etc/apt/sources.list", "deb [signed-by=/k.gpg] https://snapshot.mirror.example/a trixie main\n")},
		{rule: "apt-sources", what: "no signed-by", spot: file("etc/apt/sources.list", "deb https://mirror.example/a trixie main\n")},
		{rule: "apt-sources", what: "trusted", spot: file("etc/apt/sources.list", "deb\t[ signed-by=/k.gpg trusted=True ] https://mirror.example/a trixie main\n")},
		{rule: "apt-sources", what: "trusted", spot: file("etc/apt/sources.list.d/x.sources", "Types: deb\nURIs: https://mirror.example/a\nSuites: trixie\nSigned-By: /k.gpg\nTrusted: true\n")},
		{rule: "apt-sources", what: "file", spot: file("etc/apt/sources.list", "deb [signed-by=/k.gpg] file:/srv/a trixie main\n")},
		{rule: "apt-sources", what: "no source", spot: without("etc/apt/sources.list.d/deb.sources")},
		{rule: "editor-residue", what: "fstab~", spot: file("etc/fstab~", "x")},
		{rule: "build-names", what: `"buildhost"`, spot: both(file("etc/x", "made on buildhost.\n"), func(_ *sample, o *verify.Options) { o.BuildNames = []string{"buildhost"} })},
		{rule: "build-names", what: `"buildhost"`, spot: func(s *sample, o *verify.Options) {
			o.BuildNames = []string{"buildhost"}
			s.dir("var/cache/debconf", 0o755)
			s.put("var/cache/debconf/config.dat", 0o644, "Name: postfix/mailname\nTemplate: postfix/mailname\nValue: buildhost\n")
			s.put("var/cache/debconf/templates.dat", 0o644, "Name: x/y\nDescription: such as buildhost\n")
		}},

		{rule: "sockets-and-fifos", what: "fifo", spot: func(s *sample, _ *verify.Options) {
			s.members["opt/x"] = &tar.Header{Typeflag: tar.TypeFifo, Mode: 0o600}
		}},
		{rule: "set-id", what: "not on the list", spot: func(s *sample, _ *verify.Options) { s.put("opt/x", 0o4755, "x") }},
		{rule: "set-id", what: "want 4755", spot: header("usr/bin/passwd", func(h *tar.Header) { h.Gid = 42 })},
		{rule: "world-writable", what: "opt/x", spot: func(s *sample, _ *verify.Options) { s.put("opt/x", 0o666, "x") }},
		{rule: "world-writable", what: "/tmp", spot: directory("tmp", 0o777), also: []string{"mount-points"}},
		{rule: "capabilities", what: "0100000200", spot: header("usr/bin/login", record("SCHILY.xattr.security.capability", "\x01\x00\x00\x02\x00"+strings.Repeat("\x00", 15)))},
		{rule: "symlinks", what: "climbs out", spot: link("opt/x", "../../../etc/passwd")},
		{rule: "symlinks", what: "loop", spot: link("opt/x", "x")},
		{rule: "dangling-links", what: "there is no /usr/lib/none", spot: link("usr/lib/x", "none")},
		{rule: "mount-points", what: "is missing", spot: without("sys")},
		{rule: "binaries", what: "want EM_X86_64", spot: file("usr/lib/x", elfFile(arm64, ""))},
		{rule: "binaries", what: "its loader /lib64/ld.so", spot: file("usr/lib/x", elfFile(amd64, "/lib64/ld.so"))},
		{rule: "package-files", what: "is not what package tools brought", spot: func(s *sample, _ *verify.Options) { s.put("usr/bin/login", 0o755, "changed") }},
		{rule: "package-files", what: "no package owns it", spot: file("usr/bin/x", "x")},

		{rule: "init", what: "does not lead to systemd", spot: without("usr/sbin/init")},
		{rule: "init", what: "default.target", spot: link("etc/systemd/system/default.target", "/dev/null")},
		{rule: "first-boot-unit", what: "no such unit", spot: without(unitDir+"felhom-controller-bootstrap.service", "etc/systemd/system/multi-user.target.wants/felhom-controller-bootstrap.service")},
		{rule: "first-boot-unit", what: "nothing enables it", spot: without("etc/systemd/system/multi-user.target.wants/felhom-controller-bootstrap.service"), also: []string{"preset-closure"}},
		{rule: "first-boot-unit", what: "is missing", spot: without("usr/sbin/felhom-controller-bootstrap")},
		{rule: "first-boot-unit", what: "want it static", spot: func(s *sample, _ *verify.Options) {
			s.put("usr/sbin/felhom-controller-bootstrap", 0o755, elfFile(amd64, "/lib64/ld.so"))
		}, also: []string{"binaries", "package-files"}},
		{rule: "first-boot-unit", what: "is for EM_AARCH64", spot: func(s *sample, _ *verify.Options) {
			s.put("usr/sbin/felhom-controller-bootstrap", 0o755, elfFile(arm64, ""))
		}, also: []string{"binaries", "package-files"}},
		{rule: "first-boot-stamp", what: "bootstrap.json", spot: file("etc/felhom-bootstrap/bootstrap.json", "{}")},
		{rule: "first-boot-condition", what: "never runs", spot: func(s *sample, _ *verify.Options) {
			s.replace(unitDir+"docker.service", "[Unit]\n", "[Unit]\nConditionFirstBoot=yes\n")
		}},
		{rule: "preset-closure", what: "would enable it", spot: without("etc/systemd/system-preset/10-golden.preset")},
		{rule: "preset-closure", what: "would disable it", spot: link("etc/systemd/system/multi-user.target.wants/extra.service", "/"+unitDir+"extra.service")},
		{rule: "unit-links", what: "there is no", spot: link("etc/systemd/system/multi-user.target.wants/gone.service", "/"+unitDir+"gone.service")},
		{rule: "network-online", what: `waiters are []`, spot: without("etc/systemd/system/network-online.target.wants/networking.service")},
		{rule: "network-online", what: "systemd-networkd-wait-online.service", spot: both(
			file(unitDir+"systemd-networkd-wait-online.service", "[Service]\n"),
			link("etc/systemd/system/network-online.target.wants/systemd-networkd-wait-online.service", "/"+unitDir+"systemd-networkd-wait-online.service"))},
		{rule: "masked-units", what: "want it masked", spot: file(unitDir+"sys-kernel-debug.mount", "[Mount]\n")},
		{rule: "guest-units", what: "chrony.service cannot work in an unprivileged guest: it sets the clock, which is the host's (chronyd); name it in units.mask", spot: enabled("chrony.service", "[Service]\nExecStart=!/usr/sbin/chronyd $DAEMON_OPTS\n")},
		{rule: "console", what: "container-getty@", spot: without(unitDir + "container-getty@.service")},
		{rule: "console", what: "there is no login", spot: without("usr/sbin/agetty")},
		{rule: "unit-order", what: "order cycle", spot: func(s *sample, _ *verify.Options) {
			s.replace(unitDir+"docker.service", "After=", "After=felhom-controller-bootstrap.service ")
		}},
		{rule: "unit-order", what: "no After=docker.socket", spot: func(s *sample, _ *verify.Options) {
			s.replace(unitDir+"felhom-controller-bootstrap.service", "After=docker.service", "")
		}},
		{rule: "docker", what: "is missing or not executable", spot: without("usr/sbin/dockerd")},
		{rule: "docker", what: "not JSON", spot: file("etc/docker/daemon.json", "{,}")},
		{rule: "docker", what: "want a limit", spot: file("etc/docker/daemon.json", "{}")},
		{rule: "docker", what: "max-size lots", spot: file("etc/docker/daemon.json", `{"log-driver":"local","log-opts":{"max-size":"lots"}}`)},
		{rule: "network-tools", what: "no ifupdown", spot: func(s *sample, _ *verify.Options) {
			s.replace("var/lib/dpkg/status", "Package: ifupdown\n", "Package: other\n")
		}, also: []string{"network-online"}},
		{rule: "network-tools", what: "dhcpcd-base", spot: func(s *sample, _ *verify.Options) {
			s.replace("var/lib/dpkg/status", "Package: dhcpcd-base\n", "Package: other\n")
		}},
		{rule: "container", what: "line:2:1: error: env: unknown key; did you mean \"environment\"?", spot: containerFile("ports: ['80:80']\nenv: 7\n")},
		{rule: "container", what: "line:1:9: error: memory", spot: containerFile("memory: 1m\n")},
		{rule: "container-secrets", what: "environment.DB_PASSWORD looks like a secret", spot: containerFile("environment: {DB_PASSWORD: hunter2}\n")},
	}
}

// Each sample is refused by its rule, for its reason, and by no other rule.
func TestBrokenSamples(t *testing.T) {
	covered := map[string]bool{}
	for _, b := range brokenSamples() {
		covered[b.rule] = true
		t.Run(b.rule+" "+b.what, func(t *testing.T) {
			s, opts := good(), verify.Options{}
			b.spot(s, &opts)
			report := s.verify(t, opts)
			hit := false
			for _, f := range report.Findings {
				if f.Rule != b.rule && !slices.Contains(b.also, f.Rule) {
					t.Errorf("unexpected: %s %s: %s", f.Rule, f.Path, f.Message)
				}
				hit = hit || f.Rule == b.rule && strings.Contains(f.Path+": "+f.Message, b.what)
				if f.Hint == "" {
					t.Errorf("%s: no hint", f.Rule)
				}
			}
			if !hit {
				t.Fatalf("no finding of %s with %q; got %+v", b.rule, b.what, report.Findings)
			}
			rule, _ := rules.ByID(b.rule)
			want := fault.Invalid
			switch {
			case rule.Severity == rules.Warning && len(b.also) == 0:
				want = fault.None
			case b.rule == "archive-hash":
				want = fault.Mismatch
			}
			if got := fault.Of(report.Err()); rule.Severity == rules.Error && got != want || len(b.also) == 0 && got != want {
				t.Errorf("class %v, want %v", got, want)
			}
			opts.Strict = true
			if s.verify(t, opts).Err() == nil {
				t.Error("a strict check passed it")
			}
			opts.Strict, opts.Skip = false, append([]string{b.rule}, b.also...)
			if err := s.verify(t, opts).Err(); err != nil {
				t.Errorf("with the rule skipped: %v", err)
			}
		})
	}
	for _, r := range rules.All() {
		if !covered[r.ID] {
			t.Errorf("rule %s has no broken sample", r.ID)
		}
	}
}
