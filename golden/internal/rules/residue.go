package rules

import (
	"slices"
	"strings"
)

func residueRules() []Rule {
	return []Rule{
		{
			ID: "logs", Group: Residue, Severity: Error,
			Reason:   "logs describe the build machine and differ from build to build",
			Empty:    []string{"var/log/journal"},
			DirsOnly: []string{"var/log"},
			Cut:      []string{"var/log/wtmp", "var/log/btmp", "var/log/lastlog", "var/log/faillog"},
		},
		{
			ID: "apt-caches", Group: Residue, Severity: Error,
			Reason:   "up to 190 MB of lists and packages that are stale on arrival",
			DirsOnly: []string{"var/lib/apt/lists", "var/cache/apt"},
		},
		{
			ID: "unstable-caches", Group: Residue, Severity: Error,
			Reason:   "these files differ between two equal builds and are made again when needed",
			Absent:   []string{"var/cache/ldconfig/aux-cache", "var/cache/debconf/*-old"},
			DirsOnly: []string{"var/cache/man"},
			Cut:      []string{"var/cache/debconf/passwords.dat"},
		},
		{
			ID: "dpkg-backups", Group: Residue, Severity: Warning,
			Reason: "old copies of dpkg's state differ between two equal builds",
			Absent: []string{"var/lib/dpkg/*-old", "var/lib/dpkg/available"},
			Empty:  []string{"var/lib/dpkg/updates", "var/backups"},
		},
		{
			ID: "packages-complete", Group: Residue, Severity: Error,
			Reason: "a partly configured package boots and fails later, or at the next upgrade",
			Check:  "/var/lib/dpkg/status: every package \"install ok installed\", or removed on purpose; no triggers pending",
		},
		{
			ID: "service-guards", Group: Residue, Severity: Error,
			Reason: "what keeps services from starting on the build machine keeps them from ever starting",
			Seal:   "removes policy-rc.d, puts a diverted start-stop-daemon and initctl back",
			Check:  "/usr/sbin/policy-rc.d absent; no diversion of start-stop-daemon, init or invoke-rc.d",
			Absent: []string{"usr/sbin/policy-rc.d"},
		},
		{
			ID: "scratch-folders", Group: Residue, Severity: Error,
			Reason: "what a build leaves in /tmp or /run is not needed and may be secret",
			Empty:  []string{"tmp", "var/tmp", "run"},
			Spared: []string{"run/lock"},
		},
		{
			ID: "home-residue", Group: Residue, Severity: Error,
			Reason: "histories and caches show what was typed on the build machine, including passwords",
			Seal:   "removes histories, caches and tool state of root and all homes",
			Check:  "no such names",
			Absent: inHomes(
				".*history", ".lesshst", ".viminfo", ".wget-hsts", ".cache", ".local", ".ansible", ".selected_editor",
				".sudo_as_admin_successful", ".lastlogin", ".Xauthority", ".dbshell", ".recently-used", "snap",
			),
		},
		{
			ID: "builder-settings", Group: Residue, Severity: Warning,
			Reason: "settings for the build (no fsync, no checks, a proxy) keep working in the guest",
			Seal:   "removes the settings of mmdebstrap, debootstrap, debuerreotype and Packer",
			Check:  "no such names below /etc/apt/apt.conf.d, /etc/dpkg/dpkg.cfg.d, /etc/sudoers.d and in /",
			Absent: []string{
				"etc/dpkg/dpkg.cfg.d/*mmdebstrap*", "etc/dpkg/dpkg.cfg.d/*debuerreotype*", "etc/dpkg/dpkg.cfg.d/*force-unsafe-io*",
				"etc/dpkg/dpkg.cfg.d/docker-apt-speedup", "etc/apt/apt.conf.d/*mmdebstrap*", "etc/apt/apt.conf.d/*debuerreotype*",
				"etc/apt/apt.conf.d/*debootstrap*", "etc/apt/apt.conf.d/*no-check-valid-until*", "etc/sudoers.d/*packer*",
				"etc/sudoers.d/*vagrant*", "packer-*", "etc/packer-*", "debootstrap", ".dockerenv",
			},
		},
		{
			ID: "apt-sources", Group: Residue, Severity: Warning,
			Reason: "a guest whose sources point to a snapshot, a directory or the build machine gets no updates, silently",
			Check:  "every source: http or https, Signed-By set, no snapshot or loopback address, not trusted=yes; at least one if apt is installed",
		},
		{
			ID: "editor-residue", Group: Residue, Severity: Warning,
			Reason: "backups and dumps contain what was meant to be deleted",
			Seal:   "removes editor backups, core dumps, crash reports and .dpkg-/.ucf- leftovers outside /usr (but not /usr/local)",
			Check:  "no such names there",
			Empty:  []string{"var/crash", "var/lib/systemd/coredump"},
			Trees:  []string{"boot", "etc", "home", "opt", "root", "srv", "usr/local", "var"},
			Leftovers: slices.Concat(
				[]string{"*~", "#*#", ".*.sw[op]", "*.orig", "*.dpkg-old", "*.dpkg-new", "*.dpkg-dist", "*.dpkg-tmp", "*.dpkg-bak", "*.ucf-old", "*.ucf-new", "*.ucf-dist"},
				coreDumps(),
			),
		},
		{
			ID: "build-names", Group: Residue, Severity: Error,
			Reason: "names and paths of the build machine say where the image was made, and make builds on two machines differ",
			Check:  "content of small files below /etc, /var, /root, /home, /opt, /srv and /usr/local against the names that were given",
		},
	}
}

// coreDumps returns the patterns of the kernel's core dumps: core and a process
// id, which has at most seven digits.
func coreDumps() []string {
	var all []string
	for n := 1; n <= 7; n++ {
		all = append(all, "core."+strings.Repeat("[0-9]", n))
	}
	return all
}
