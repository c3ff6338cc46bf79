package rules

func fileRules() []Rule {
	return []Rule{
		{
			ID: "sockets-and-fifos", Group: Files, Severity: Error,
			Reason: "an endpoint without its program blocks or refuses whoever opens it",
			Seal:   "removes sockets and fifos",
			Check:  "no such members",
		},
		{
			ID: "set-id", Group: Files, Severity: Error,
			Reason: "every set-id program is a way to root",
			Check:  "set-id files against the list of Debian's own and those allowed by path; mode and owner as listed",
		},
		{
			ID: "world-writable", Group: Files, Severity: Error,
			Reason: "any process in the guest can change such a file or plant one in such a directory",
			Check:  "only /tmp, /var/tmp and /run/lock, with the sticky bit, and what was allowed by path",
		},
		{
			ID: "capabilities", Group: Files, Severity: Error,
			Reason: "a file capability gives whoever runs the file a part of root's rights",
			Check:  "security.capability against what was allowed by path (Debian's ping is on the list)",
		},
		{
			ID: "symlinks", Group: Files, Severity: Error,
			Reason: "a relative link that leads out of the root points to a file of the host while the host handles the image",
			Check:  "no relative target climbs above the root; no loops",
		},
		{
			ID: "dangling-links", Group: Files, Severity: Warning,
			Reason: "a link to nothing is a part that was pruned or forgotten",
			Check:  "links below /etc, /usr/bin, /usr/sbin and the library directories lead to a member, or into /run, /proc, /dev or /sys, or are allowed",
		},
		{
			ID: "mount-points", Group: Files, Severity: Error,
			Reason: "without these directories, in these modes, nothing can be mounted and nothing starts",
			Dirs: []Dir{
				{"dev", 0o755, 0o755},
				{"proc", 0o555, 0o755},
				{"run", 0o755, 0o755},
				{"sys", 0o555, 0o755},
				{"tmp", 0o1777, 0o1777},
				{"var/tmp", 0o1777, 0o1777},
			},
		},
		{
			ID: "binaries", Group: Files, Severity: Warning,
			Reason: "a program of another architecture, or without its loader or libraries, fails only when it is first run",
			Check:  "every ELF file: machine as in pct.conf, interpreter and needed libraries in the archive",
		},
		{
			ID: "package-files", Group: Files, Severity: Warning,
			Reason: "a packaged file that was changed after its installation is overwritten by the next upgrade, without a record of the change",
			Check:  "files against /var/lib/dpkg/info/*.md5sums (missing ones are pruning, not change); files in /usr/bin and /usr/sbin that no package owns and no recipe allows",
		},
	}
}

func bootRules() []Rule {
	return []Rule{
		{
			ID: "init", Group: Boot, Severity: Error,
			Reason: "without systemd as init the guest does not start",
			Check:  "/sbin/init leads to systemd, and the target it boots to exists",
		},
		{
			ID: "first-boot-unit", Group: Boot, Severity: Error,
			Reason: "without the bootstrap, which a golden image is made for, a guest starts and stays empty",
			Check:  "felhom-controller-bootstrap.service exists and is enabled; its program is an executable, static and for the architecture of pct.conf",
		},
		{
			ID: "first-boot-stamp", Group: Boot, Severity: Error,
			Reason: "a bootstrap that thinks it has run does nothing, or shows another guest's result",
			Empty:  []string{"var/lib/felhom", "etc/felhom-bootstrap"},
			Absent: []string{"opt/docker/felhom-controller/controller.yaml"},
		},
		{
			ID: "first-boot-condition", Group: Boot, Severity: Error,
			Reason: "units with ConditionFirstBoot never run when the machine id is an empty file",
			Check:  "no enabled unit has ConditionFirstBoot=yes unless /etc/machine-id says \"uninitialized\" or is missing",
		},
		{
			ID: "preset-closure", Group: Boot, Severity: Error,
			Reason: "a first boot applies the presets: Debian's own enable 20 more units and cost 120 s of waiting for a network tool that is not in use",
			Check:  "all preset files and PVE's own, over all units with [Install]: what they would enable is exactly what is enabled",
		},
		{
			ID: "unit-links", Group: Boot, Severity: Error,
			Reason: "systemd passes over a link to a unit that does not exist, without a message",
			Check:  "every .wants, .requires and alias link leads to a member",
		},
		{
			ID: "network-online", Group: Boot, Severity: Error,
			Reason: "a unit that waits for a network tool that is not in use delays the boot by 120 s; without any, Docker starts before the guest has an address",
			Check:  "exactly one waiter is in network-online.target.wants, that of the tool in use",
		},
		{
			ID: "masked-units", Group: Boot, Severity: Warning,
			Reason: "units that always fail in an unprivileged guest make \"degraded\" the normal state, which hides real failures",
			Check:  "sys-kernel-config.mount, sys-kernel-debug.mount, systemd-journald-audit.socket and systemd-modules-load.service are masked if they exist",
		},
		{
			ID: "guest-units", Group: Boot, Severity: Warning,
			Reason: "what only the host may do (set the clock, audit, make swap, mount devices, load modules) fails at every boot of every guest, and \"degraded\" hides real failures",
			Check:  "all that boot starts, by the names of units, their programs, and the capabilities, devices, scheduling and mounts that they ask for; conditions that skip a unit in containers count; lines of /etc/fstab",
		},
		{
			ID: "console", Group: Boot, Severity: Error,
			Reason: "pct console talks to a getty on the container's terminal",
			Check:  "container-getty@.service exists, getty.target is not masked, /usr/sbin/agetty and /bin/login exist",
		},
		{
			ID: "unit-order", Group: Boot, Severity: Warning,
			Reason: "a cycle in the order makes systemd drop a unit of its choice",
			Check:  "After= and Before= of all enabled units: no cycle; the bootstrap comes after docker.socket or docker.service",
		},
		{
			ID: "docker", Group: Boot, Severity: Error,
			Reason: "the workload is a container",
			Check:  "dockerd, containerd, the v2 shim, runc, an init for containers and iptables exist, docker is enabled; daemon.json is JSON with a log limit",
		},
		{
			ID: "network-tools", Group: Boot, Severity: Error,
			Reason: "PVE writes /etc/network/interfaces only: without ifupdown and a DHCP client the guest restores cleanly and has no network",
			Check:  "the packages against pct.conf's net0 and ostype",
		},
		{
			ID: "container", Group: Boot, Severity: Error,
			Reason: "each guest refuses settings of its container that Docker would refuse, and starts nothing",
			Check:  "/etc/felhom/controller-container.yaml, by the code that the guest uses",
		},
		{
			ID: "container-secrets", Group: Boot, Severity: Warning,
			Reason: "everyone who can read a copy of the image can read a secret in it, and it is the same in all guests",
			Check:  "variables, labels and arguments in /etc/felhom/controller-container.yaml: names and forms of passwords, tokens and keys",
		},
	}
}
