package rules

func identityRules() []Rule {
	return []Rule{
		{ // 1
			ID: "machine-id", Group: Identity, Severity: Error,
			Reason: "restore does not reset it: guests that share a machine id share DHCP leases and journal identity",
			Seal:   "writes /etc/machine-id: empty (systemd makes a new id and applies no presets), or \"uninitialized\" where the first boot shall count as one",
			Check:  "a regular file, empty or exactly \"uninitialized\"; 32 hex digits are an identity",
		},
		{ // 2
			ID: "dbus-machine-id", Group: Identity, Severity: Error,
			Reason: "systemd takes /var/lib/dbus/machine-id as the source when /etc/machine-id is empty",
			Seal:   "removes it unless it is a link to /etc/machine-id",
			Check:  "absent, or a symbolic link to /etc/machine-id",
		},
		{ // 3
			ID: "ssh-host-keys", Group: Identity, Severity: Error,
			Reason: "one guest's key lets its holder pose as every other guest",
			Seal:   "removes /etc/ssh/ssh_host_*",
			Check:  "no such names; with openssh-server a unit that makes new ones is enabled",
		},
		{ // 4
			ID: "ssh-access", Group: Identity, Severity: Error,
			Reason: "keys and known hosts travel with the image into every guest",
			Seal:   "empties /root/.ssh and /home/*/.ssh",
			Check:  "nothing in these folders",
		},
		{ // 5
			ID: "passwords", Group: Identity, Severity: Error,
			Reason: "restore ignores --password: a password in the image is the password everywhere, an empty one is an open door",
			Seal:   "locks every account and group that has a password or an empty one; brings the last change, where it is later than the build's epoch, back to it",
			Check:  "/etc/shadow and /etc/gshadow: * or !...; /etc/passwd: field 2 is x, one account with uid 0",
		},
		{ // 6
			ID: "account-backups", Group: Identity, Severity: Error,
			Reason: "old copies may hold old hashes, and differ from build to build",
			Seal:   "removes /etc/{passwd,group,shadow,gshadow,subuid,subgid}-",
			Check:  "no such names",
		},
		{ // 7
			ID: "seeds", Group: Identity, Severity: Error,
			Reason: "guests that share a seed share what they draw from it; a shared credential secret decrypts everywhere",
			Seal:   "removes random-seed and credential.secret",
			Check:  "/var/lib/systemd/random-seed, /var/lib/urandom/random-seed, /var/lib/systemd/credential.secret absent",
		},
		{ // 8
			ID: "engine-state", Group: Identity, Severity: Error,
			Reason: "a Docker that ran in the workshop leaves one engine id, networks and containers to all guests",
			Seal:   "empties /var/lib/docker and /var/lib/containerd, removes /etc/docker/key.json",
			Check:  "nothing below these folders, no key.json",
		},
		{ // 9
			ID: "tls-keys", Group: Identity, Severity: Error,
			Reason: "one TLS key for all guests protects none of them",
			Seal:   "empties /etc/ssl/private, removes the snakeoil certificate",
			Check:  "nothing in /etc/ssl/private, no ssl-cert-snakeoil.pem",
		},
		{ // 10
			ID: "credentials", Group: Identity, Severity: Error,
			Reason: "logins of the workshop work from every guest",
			Seal:   "removes Docker, cloud, git, netrc and package logins of root and all homes, apt's auth.conf and proxy settings",
			Check:  "no such names",
		},
		{ // 4, 9, 10
			ID: "secrets", Group: Identity, Severity: Error,
			Reason: "a secret in the image is known to everyone who can read one guest",
			Check:  "content of all small files: private keys, tokens (fgt_, GitHub, GitLab, Docker, AWS, Slack), config.json logins, user:password@ in URLs; lists allow exceptions by path",
		},
		{ // 11
			ID: "cluster-state", Group: Identity, Severity: Error,
			Reason: "the guest would act as the machine that joined a tailnet, a cluster or a swarm",
			Seal:   "empties the state folders of tailscale, zerotier, wireguard, kubelet, k3s, consul and nomad",
			Check:  "nothing below them",
		},
		{ // 12
			ID: "host-name", Group: Identity, Severity: Error,
			Reason: "mmdebstrap and debootstrap copy the build machine's name into the image; guests answer to it, and two hosts build two images",
			Seal:   "writes the neutral name to /etc/hostname, keeps only loopback and multicast names in /etc/hosts, removes /etc/mailname",
			Check:  "/etc/hostname is localhost, the hostname of pct.conf or one that was allowed; /etc/hosts gives loopback addresses no other name and has no PVE block; no /etc/mailname",
		},
		{ // 13
			ID: "resolv-conf", Group: Identity, Severity: Error,
			Reason: "the build machine's resolver travels along; PVE writes its own",
			Seal:   "makes /etc/resolv.conf an empty regular file",
			Check:  "absent, empty, comments only, or a link into /run",
		},
		{ // 14
			ID: "leases", Group: Identity, Severity: Warning,
			Reason: "guests that share a lease or a DUID take each other's address",
			Seal:   "removes machine-info, adjtime, DHCP leases and DUIDs, saved network state",
			Check:  "nothing of the kind",
		},
		{ // 15
			ID: "cron-minutes", Group: Identity, Severity: Warning,
			Reason: "fixed minutes make all guests of a host work at the same moment; PVE spreads them on create only, never on restore",
			Check:  "lines of /etc/crontab and /etc/cron.d that start with a fixed minute",
		},
	}
}

func residueRules() []Rule {
	return []Rule{
		{ // 16
			ID: "logs", Group: Residue, Severity: Error,
			Reason: "logs tell of the workshop and differ from build to build",
			Seal:   "empties /var/log: folders stay, wtmp, btmp, lastlog and faillog are cut to nothing, everything else goes, journals with their folders",
			Check:  "only folders and those four names, without content",
		},
		{ // 17
			ID: "apt-caches", Group: Residue, Severity: Error,
			Reason: "up to 190 MB of lists and packages that are stale on arrival",
			Seal:   "empties /var/lib/apt/lists and /var/cache/apt but for their empty folders",
			Check:  "only folders below them",
		},
		{ // 18
			ID: "unstable-caches", Group: Residue, Severity: Error,
			Reason: "these files differ between two equal builds and are made anew when needed",
			Seal:   "removes ldconfig's aux-cache, debconf's -old files and passwords, the man-db index",
			Check:  "aux-cache, debconf *-old and man-db index absent, passwords.dat without content",
		},
		{ // 19
			ID: "dpkg-backups", Group: Residue, Severity: Warning,
			Reason: "old copies of dpkg's state differ between two equal builds",
			Seal:   "removes /var/lib/dpkg/*-old, available, updates/*, and all in /var/backups",
			Check:  "no such names",
		},
		{ // 20
			ID: "packages-complete", Group: Residue, Severity: Error,
			Reason: "a half-configured package boots and fails later, or at the next upgrade",
			Check:  "/var/lib/dpkg/status: every package \"install ok installed\", or removed on purpose; no triggers pending",
		},
		{ // 21
			ID: "service-guards", Group: Residue, Severity: Error,
			Reason: "what keeps services from starting in the workshop keeps them from ever starting",
			Seal:   "removes policy-rc.d, puts a diverted start-stop-daemon and initctl back",
			Check:  "/usr/sbin/policy-rc.d absent; no diversion of start-stop-daemon, init or invoke-rc.d",
		},
		{ // 22
			ID: "scratch-folders", Group: Residue, Severity: Error,
			Reason: "what a build leaves in /tmp or /run is litter and may be secret",
			Seal:   "empties /tmp, /var/tmp and /run",
			Check:  "nothing below them but folders of mode bits that tmpfiles would make (/run/lock)",
		},
		{ // 22
			ID: "home-residue", Group: Residue, Severity: Error,
			Reason: "histories and caches show what was typed in the workshop, passwords among it",
			Seal:   "removes histories, caches and tool state of root and all homes",
			Check:  "no such names",
		},
		{ // 23
			ID: "builder-settings", Group: Residue, Severity: Warning,
			Reason: "settings for the build (no fsync, no checks, a proxy) go on working in the guest",
			Seal:   "removes the settings of mmdebstrap, debootstrap, debuerreotype and Packer",
			Check:  "no such names below /etc/apt/apt.conf.d, /etc/dpkg/dpkg.cfg.d, /etc/sudoers.d and in /",
		},
		{ // 24
			ID: "apt-sources", Group: Residue, Severity: Warning,
			Reason: "a guest whose sources point to a snapshot, a folder or a machine of the workshop gets no updates, silently",
			Check:  "every source: http or https, Signed-By set, no snapshot or loopback address, not trusted=yes; at least one where apt is installed",
		},
		{ // 25
			ID: "editor-residue", Group: Residue, Severity: Warning,
			Reason: "backups and dumps hold what was meant to be gone",
			Seal:   "removes editor backups, core dumps, crash reports and .dpkg-/.ucf- leftovers outside /usr (but not /usr/local)",
			Check:  "no such names there",
		},
		{ // 26
			ID: "build-names", Group: Residue, Severity: Error,
			Reason: "names and paths of the build machine tell of the workshop and make two hosts build two images",
			Check:  "content of small files below /etc, /var, /root, /home, /opt, /srv and /usr/local against the names that were given",
		},
	}
}
