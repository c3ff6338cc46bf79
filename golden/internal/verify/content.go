package verify

import (
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/golden/internal/deb822"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func checkMachineID(c *check) {
	e := c.ByPath["etc/machine-id"]
	switch text := string(c.Content["etc/machine-id"]); {
	case e == nil:
		c.fail("etc/machine-id", "is missing, want an empty file or \"uninitialized\": a missing one makes every start of a read-only guest a first boot")
	case e.Type != vzdump.File:
		c.fail(e.Path, "is a %s, want a regular file", e.Type)
	case regexp.MustCompile(`^[0-9a-f]{32}\s*$`).MatchString(text):
		c.fail(e.Path, "holds an id, want an empty file or \"uninitialized\": every guest would have this one")
	case text != "" && text != "uninitialized\n":
		c.fail(e.Path, "holds %d bytes that are neither nothing nor \"uninitialized\\n\"", e.Size)
	case e.Mode != 0o444 && e.Mode != 0o644:
		c.fail(e.Path, "mode %04o, want 0444 or 0644", e.Mode)
	}
}

func checkDBusMachineID(c *check) {
	if e := c.ByPath["var/lib/dbus/machine-id"]; e != nil && (e.Type != vzdump.Symlink || e.Link != "/etc/machine-id") {
		c.fail(e.Path, "is a %s, want nothing or a link to /etc/machine-id", e.Type)
	}
}

func checkHostKeys(c *check) {
	if !c.hasPackage("openssh-server") {
		return
	}
	units := c.Units()
	for _, name := range units.Enabled() {
		if exec := strings.Join(units.Load(name).All("Service", "ExecStart", "ExecStartPre"), "\n"); strings.Contains(exec, "ssh-keygen") {
			return
		}
	}
	c.fail("usr/sbin/sshd", "openssh-server is installed and no enabled unit calls ssh-keygen, want one: sshd does not start without host keys")
}

func checkPasswords(c *check) {
	if _, ok := c.Text("etc/shadow"); !ok {
		c.fail("etc/shadow", "is missing or too large, want it with every account locked")
	}
	c.eachLine("etc/shadow", func(n int, f []string) {
		switch {
		case len(f) < 2:
			c.fail("etc/shadow", "line %d: %d field(s), want NAME:PASSWORD:...", n, len(f))
		case f[1] == "":
			c.fail("etc/shadow", "line %d: account %s has an empty password, want it locked", n, f[0])
		case !rules.IsLocked(f[1]):
			c.fail("etc/shadow", "line %d: account %s has a password, want it locked", n, f[0])
		}
	})
	c.eachLine("etc/gshadow", func(n int, f []string) {
		if len(f) > 1 && f[1] != "" && !rules.IsLocked(f[1]) {
			c.fail("etc/gshadow", "line %d: group %s has a password, want none", n, f[0])
		}
	})
	c.eachLine("etc/passwd", func(n int, f []string) {
		if len(f) > 1 && f[1] != "x" && f[1] != "*" {
			c.fail("etc/passwd", "line %d: account %s: field 2 is not x", n, f[0])
		}
		if len(f) > 2 && f[2] == "0" && f[0] != "root" {
			c.fail("etc/passwd", "line %d: account %s has uid 0, want root alone to have it", n, f[0])
		}
	})
}

// eachLine calls visit with the number and colon-separated fields of each line.
func (c *check) eachLine(name string, visit func(n int, fields []string)) {
	text, _ := c.Text(name)
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimRight(line, "\n"); line != "" {
			visit(n, strings.Split(line, ":"))
		}
	}
}

func checkSecrets(c *check) {
	for _, s := range c.secrets {
		if !allowed(c.opts.Allow.Secrets, s.Path) {
			c.fail(s.Path, "line %d: %s", s.Line, s.What)
		}
	}
}

func checkBuildNames(c *check) {
	for _, s := range c.names {
		c.fail(s.Path, "line %d: the build machine's %q", s.Line, s.What)
	}
}

func checkHostName(c *check) {
	text, _ := c.Text("etc/hostname")
	names := append([]string{"", "localhost", c.setting("hostname")}, c.opts.Hostnames...)
	if got := strings.TrimSpace(text); !slices.Contains(names, got) {
		c.fail("etc/hostname", "%q, want localhost or the hostname of pct.conf (%q)", got, names[2])
	}
	own := []string{"localhost", "ip6-localhost", "ip6-loopback", "localhost4", "localhost6", names[2]}
	hosts, _ := c.Text("etc/hosts")
	n := 0
	for line := range strings.Lines(hosts) {
		n++
		if strings.Contains(line, "--- BEGIN PVE ---") {
			c.fail("etc/hosts", "line %d: a block of PVE's: this comes from a guest that ran", n)
		}
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if addr, err := netip.ParseAddr(f[0]); err != nil || !addr.IsLoopback() {
			continue
		}
		for _, name := range f[1:] {
			if !slices.Contains(own, name) {
				c.fail("etc/hosts", "line %d: %s is called %q, want localhost only", n, f[0], name)
			}
		}
	}
}

func checkResolvConf(c *check) {
	e := c.ByPath["etc/resolv.conf"]
	if e == nil {
		return
	}
	if e.Type == vzdump.Symlink {
		if _, at := c.Lookup(e.Path); !strings.HasPrefix(at, "run/") && at != "run" {
			c.fail(e.Path, "link to %s, want an empty file or a link into /run", e.Link)
		}
		return
	}
	for line := range strings.Lines(string(c.Content[e.Path])) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			c.fail(e.Path, "names a resolver, want it empty: it is the build machine's")
			return
		}
	}
}

func checkCron(c *check) {
	fixed := regexp.MustCompile(`^\s*[0-9]+\s+\S+\s+\S+\s+\S+\s+\S+\s+\S`)
	for _, e := range c.Entries {
		if e.Path != "etc/crontab" && !image.IsBelow("etc/cron.d", e.Path) {
			continue
		}
		n := 0
		for line := range strings.Lines(string(c.Content[e.Path])) {
			if n++; fixed.MatchString(line) {
				c.fail(e.Path, "line %d: a fixed minute, want */N, a random delay or a systemd timer with RandomizedDelaySec", n)
			}
		}
	}
}

func checkPackages(c *check) {
	const status = image.StatusPath
	text, ok := c.Text(status)
	if !ok {
		c.fail(status, "is missing or too large, want dpkg's record of what is installed")
		return
	}
	for p := range deb822.Paragraphs(text, "package", "status", "triggers-pending", "triggers-awaited") {
		switch s := p["status"]; s {
		case "install ok installed", "hold ok installed", "deinstall ok config-files", "deinstall ok not-installed", "purge ok not-installed":
		default:
			c.fail(status, "package %s is %q, want \"install ok installed\"", p["package"], s)
		}
		if t := p["triggers-pending"] + p["triggers-awaited"]; t != "" {
			c.fail(status, "package %s has triggers to run: %s", p["package"], t)
		}
	}
	if text, _ := c.Text("var/lib/dpkg/triggers/Unincorp"); strings.TrimSpace(text) != "" {
		c.fail("var/lib/dpkg/triggers/Unincorp", "triggers that were not run")
	}
}

func checkGuards(c *check) {
	c.absent("sbin/*.REAL", "usr/sbin/*.REAL")
	text, _ := c.Text("var/lib/dpkg/diversions")
	for line := range strings.Lines(text) {
		switch path.Base(strings.TrimSpace(line)) {
		case "start-stop-daemon", "init", "initctl", "invoke-rc.d":
			c.fail("var/lib/dpkg/diversions", "%s is diverted: services do not start", strings.TrimSpace(line))
		}
	}
}

func checkAptSources(c *check) {
	found := false
	for _, e := range c.Entries {
		if !apt.IsSourceFile(e.Path) {
			continue
		}
		for _, s := range apt.Parse(e.Path, string(c.Content[e.Path])) {
			found = true
			c.checkAptSource(e.Path, s)
		}
	}
	if !found && c.hasPackage("apt") {
		c.fail("etc/apt/sources.list", "apt has no source, want one: the guest gets no updates")
	}
}

func (c *check) checkAptSource(file string, s apt.Entry) {
	u, err := url.Parse(s.URI)
	if err != nil {
		c.fail(file, "source is not a URL")
		return
	}
	host := u.Hostname()
	addr, addrErr := netip.ParseAddr(host)
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		c.fail(file, "source with scheme %q, want http or https: a guest cannot reach it", u.Scheme)
	case host == "localhost" || addrErr == nil && addr.IsLoopback():
		c.fail(file, "source on %s: a guest cannot reach it", host)
	case strings.HasPrefix(host, "snapshot."):
		c.fail(file, "source is a snapshot: it never has updates")
	}
	switch {
	case s.Trusted:
		c.fail(file, "source is trusted without a signature")
	case s.SignedBy == "" && !s.Embedded:
		c.fail(file, "source has no signed-by: every key that apt knows may sign it")
	}
}
