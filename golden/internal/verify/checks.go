package verify

// checks has one entry for each rule of the table.
func checks() map[string]func(*check) {
	return map[string]func(*check){
		"archive-name":        checkArchiveName,
		"zstd-frame":          checkFrames,
		"archive-hash":        checkHash,
		"config-first":        checkConfigFirst,
		"guest-firewall":      checkFirewall,
		"guest-config":        checkGuestConfig,
		"rootfs-size":         checkRootfsSize,
		"size-budget":         checkBudget,
		"member-names":        checkNames,
		"member-order":        checkOrder,
		"parent-directories":  checkParents,
		"member-types":        checkTypes,
		"times":               checkTimes,
		"id-range":            checkIDs,
		"extended-attributes": checkXattrs,
		"hard-links":          checkHardLinks,
		"device-nodes":        checkDevices,
		"debian-version":      checkDebianVersion,
		"root-layout":         checkLayout,

		"machine-id":      checkMachineID,
		"dbus-machine-id": checkDBusMachineID,
		"ssh-host-keys":   checkHostKeys,
		"ssh-access":      func(c *check) { c.noneBelow("root/.ssh", "home/*/.ssh") },
		"passwords":       checkPasswords,
		"account-backups": func(c *check) {
			c.absent("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-")
		},
		"seeds": func(c *check) {
			c.absent("var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/systemd/credential.secret")
		},
		"engine-state": func(c *check) {
			c.noneBelow("var/lib/docker", "var/lib/containerd")
			c.absent("etc/docker/key.json")
		},
		"tls-keys": func(c *check) {
			c.noneBelow("etc/ssl/private")
			c.absent("etc/ssl/certs/ssl-cert-snakeoil.pem")
		},
		"credentials": checkCredentials,
		"secrets":     checkSecrets,
		"cluster-state": func(c *check) {
			c.noneBelow("var/lib/tailscale", "var/lib/zerotier-one", "etc/wireguard", "var/lib/kubelet", "etc/kubernetes",
				"var/lib/rancher", "etc/rancher", "var/lib/consul", "opt/consul", "var/lib/nomad", "opt/nomad")
		},
		"host-name":   checkHostName,
		"resolv-conf": checkResolvConf,
		"leases": func(c *check) {
			c.absent("etc/machine-info", "etc/adjtime", "etc/dhcpcd.duid", "etc/dhcpcd.secret", "etc/dhcp/dhclient.duid")
			c.foldersOnly("var/lib/dhcp", "var/lib/dhcpcd", "var/lib/dhcpcd5", "var/lib/systemd/network", "var/lib/NetworkManager", "var/lib/ifupdown")
		},
		"cron-minutes": checkCron,

		"logs":       checkLogs,
		"apt-caches": func(c *check) { c.foldersOnly("var/lib/apt/lists", "var/cache/apt") },
		"unstable-caches": func(c *check) {
			c.absent("var/cache/ldconfig/aux-cache", "var/cache/debconf/*-old")
			c.foldersOnly("var/cache/man")
			if e := c.ByPath["var/cache/debconf/passwords.dat"]; e != nil && e.Size > 0 {
				c.fail(e.Path, "holds %d bytes, want none", e.Size)
			}
		},
		"dpkg-backups": func(c *check) {
			c.absent("var/lib/dpkg/*-old", "var/lib/dpkg/available")
			c.noneBelow("var/lib/dpkg/updates", "var/backups")
		},
		"packages-complete": checkPackages,
		"service-guards":    checkGuards,
		"scratch-folders":   checkScratch,
		"home-residue":      checkHomes,
		"builder-settings": func(c *check) {
			c.absent("etc/dpkg/dpkg.cfg.d/*mmdebstrap*", "etc/dpkg/dpkg.cfg.d/*debuerreotype*", "etc/dpkg/dpkg.cfg.d/*force-unsafe-io*",
				"etc/dpkg/dpkg.cfg.d/docker-apt-speedup", "etc/apt/apt.conf.d/*mmdebstrap*", "etc/apt/apt.conf.d/*debuerreotype*",
				"etc/apt/apt.conf.d/*debootstrap*", "etc/apt/apt.conf.d/*no-check-valid-until*", "etc/sudoers.d/*packer*",
				"etc/sudoers.d/*vagrant*", "packer-*", "etc/packer-*", "debootstrap", ".dockerenv")
		},
		"apt-sources":    checkAptSources,
		"editor-residue": checkEditors,
		"build-names":    checkBuildNames,

		"sockets-and-fifos": checkSockets,
		"set-id":            checkSetID,
		"world-writable":    checkWorldWritable,
		"capabilities":      checkCapabilities,
		"symlinks":          checkSymlinks,
		"dangling-links":    checkDangling,
		"mount-points":      checkMountPoints,
		"binaries":          checkBinaries,
		"package-files":     checkPackageFiles,

		"init":                 checkInit,
		"first-boot-unit":      checkFirstBootUnit,
		"first-boot-stamp":     checkStamps,
		"first-boot-condition": checkFirstBootCondition,
		"preset-closure":       checkPresets,
		"unit-links":           checkUnitLinks,
		"network-online":       checkNetworkOnline,
		"masked-units":         checkMasks,
		"guest-units":          checkGuestUnits,
		"console":              checkConsole,
		"unit-order":           checkUnitOrder,
		"docker":               checkDocker,
		"network-tools":        checkNetworkTools,
		"container":            checkContainer,
		"container-secrets":    checkContainerSecrets,
	}
}
