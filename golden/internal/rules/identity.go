package rules

import "slices"

func identityRules() []Rule {
	return []Rule{
		{
			ID: "machine-id", Group: Identity, Severity: Error,
			Reason: "restore does not reset it: guests that share a machine id share DHCP leases and journal identity",
			Seal:   "writes /etc/machine-id: empty (systemd makes a new id and applies no presets), or \"uninitialized\" if the first boot should count as one",
			Check:  "a regular file, empty or exactly \"uninitialized\"; 32 hex digits are an identity",
		},
		{
			ID: "dbus-machine-id", Group: Identity, Severity: Error,
			Reason: "systemd takes /var/lib/dbus/machine-id as the source when /etc/machine-id is empty",
			Seal:   "removes it unless it is a link to /etc/machine-id",
			Check:  "absent, or a symbolic link to /etc/machine-id",
		},
		{
			ID: "ssh-host-keys", Group: Identity, Severity: Error,
			Reason: "one guest's key lets its holder pose as every other guest",
			Check:  "no such names; with openssh-server a unit that makes new ones is enabled",
			Absent: []string{"etc/ssh/ssh_host_*"},
		},
		{
			ID: "ssh-access", Group: Identity, Severity: Error,
			Reason: "keys and known hosts travel with the image into every guest",
			Empty:  inHomes(".ssh"),
		},
		{
			ID: "passwords", Group: Identity, Severity: Error,
			Reason: "restore ignores --password: a password in the image is that of every guest, and with an empty one anyone can log in",
			Seal:   "locks every account and group that has a password or an empty one; sets dates of a last change after the build's epoch to the epoch",
			Check:  "/etc/shadow and /etc/gshadow: * or !...; /etc/passwd: field 2 is x, one account with uid 0",
		},
		{
			ID: "account-backups", Group: Identity, Severity: Error,
			Reason: "old copies may hold old hashes, and differ from build to build",
			Absent: []string{"etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-"},
		},
		{
			ID: "seeds", Group: Identity, Severity: Error,
			Reason: "guests with the same seed get the same random numbers; a shared credential secret decrypts the credentials of all guests",
			Absent: []string{"var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/systemd/credential.secret"},
		},
		{
			ID: "engine-state", Group: Identity, Severity: Error,
			Reason: "an engine that ran in the image leaves its id, networks and containers to all guests",
			Empty:  []string{"var/lib/docker", "var/lib/containerd"},
			Absent: []string{"etc/docker/key.json"},
		},
		{
			ID: "tls-keys", Group: Identity, Severity: Error,
			Reason: "one TLS key for all guests protects none of them",
			Seal:   "empties /etc/ssl/private, removes the snakeoil certificate",
			Empty:  []string{"etc/ssl/private"},
			Absent: []string{"etc/ssl/certs/ssl-cert-snakeoil.pem"},
		},
		{
			ID: "credentials", Group: Identity, Severity: Error,
			Reason: "logins of the build machine work from every guest",
			Seal:   "removes Docker, cloud, git, netrc and package logins of root and all homes, apt's auth.conf and proxy settings",
			Check:  "no such names",
			Empty:  []string{"etc/apt/auth.conf.d"},
			Absent: slices.Concat(
				inHomes(".docker", ".netrc", ".aws", ".azure", ".config", ".kube", ".gnupg", ".git-credentials", ".npmrc", ".pypirc", ".pgpass", ".my.cnf", ".vault-token", ".cloudflared"),
				[]string{"etc/apt/auth.conf", "etc/apt/apt.conf.d/*proxy*", "etc/apt/apt.conf.d/*Proxy*"},
			),
		},
		{
			ID: "secrets", Group: Identity, Severity: Error,
			Reason: "a secret in the image is known to everyone who can read one guest",
			Check:  "content of all small files: private keys, tokens (fgt_, GitHub, GitLab, Docker, AWS, Slack), config.json logins, user:password@ in URLs; lists allow exceptions by path",
		},
		{
			ID: "cluster-state", Group: Identity, Severity: Error,
			Reason: "the guest would act as the machine that joined a tailnet, a cluster or a swarm",
			Empty: []string{
				"var/lib/tailscale", "var/lib/zerotier-one", "etc/wireguard", "var/lib/kubelet", "etc/kubernetes",
				"var/lib/rancher", "etc/rancher", "var/lib/consul", "opt/consul", "var/lib/nomad", "opt/nomad",
			},
		},
		{
			ID: "host-name", Group: Identity, Severity: Error,
			Reason: "mmdebstrap and debootstrap copy the build machine's name into the image; guests use it, and builds on two machines differ",
			Seal:   "writes the neutral name to /etc/hostname, keeps only loopback and multicast names in /etc/hosts, removes /etc/mailname",
			Check:  "/etc/hostname is localhost, the hostname of pct.conf or one that was allowed; /etc/hosts gives loopback addresses no other name and has no PVE block; no /etc/mailname",
			Absent: []string{"etc/mailname"},
		},
		{
			ID: "resolv-conf", Group: Identity, Severity: Error,
			Reason: "guests would ask the build machine's resolver; PVE writes its own",
			Seal:   "makes /etc/resolv.conf an empty regular file",
			Check:  "absent, empty, comments only, or a link into /run",
		},
		{
			ID: "leases", Group: Identity, Severity: Warning,
			Reason:   "guests that share a lease or a DUID take each other's address",
			Absent:   []string{"etc/machine-info", "etc/adjtime", "etc/dhcpcd.duid", "etc/dhcpcd.secret", "etc/dhcp/dhclient.duid"},
			DirsOnly: []string{"var/lib/dhcp", "var/lib/dhcpcd", "var/lib/dhcpcd5", "var/lib/systemd/network", "var/lib/NetworkManager", "var/lib/ifupdown"},
		},
		{
			ID: "cron-minutes", Group: Identity, Severity: Warning,
			Reason: "fixed minutes make all guests of a host work at the same moment; PVE spreads them on create only, never on restore",
			Check:  "lines of /etc/crontab and /etc/cron.d that start with a fixed minute",
		},
	}
}

// inHomes returns the names in root's home directory and in all others.
func inHomes(names ...string) []string {
	var all []string
	for _, name := range names {
		all = append(all, "root/"+name, "home/*/"+name)
	}
	return all
}
