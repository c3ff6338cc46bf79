package seal

import (
	"io/fs"
	"path"
	"strings"
)

// action seals one rule. It is safe to repeat and reports only what it changed.
type action func(*work) error

// actions has one entry for each rule of the table with a Seal text.
func actions() map[string]action {
	return map[string]action{
		"config-first":       func(w *work) error { return w.remove("etc/vzdump") },
		"parent-directories": sealParents,
		"device-nodes":       sealDevices,

		"machine-id":      sealMachineID,
		"dbus-machine-id": sealDBusMachineID,
		"ssh-host-keys":   func(w *work) error { return w.removeMatching([]string{"etc/ssh"}, "ssh_host_*") },
		"ssh-access":      func(w *work) error { return w.empty("root/.ssh", "home/*/.ssh") },
		"passwords":       sealPasswords,
		"account-backups": func(w *work) error {
			return w.remove("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-")
		},
		"seeds": func(w *work) error {
			return w.remove("var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/systemd/credential.secret")
		},
		"engine-state":  sealEngine,
		"tls-keys":      sealTLSKeys,
		"credentials":   sealCredentials,
		"cluster-state": sealCluster,
		"host-name":     sealHostName,
		"resolv-conf":   func(w *work) error { return w.write("etc/resolv.conf", nil, 0o644) },
		"leases":        sealLeases,

		"logs":             sealLogs,
		"apt-caches":       sealAptCaches,
		"unstable-caches":  sealUnstableCaches,
		"dpkg-backups":     sealDpkgBackups,
		"service-guards":   sealServiceGuards,
		"scratch-folders":  func(w *work) error { return w.empty("tmp", "var/tmp", "run") },
		"home-residue":     sealHomes,
		"builder-settings": sealBuilderSettings,
		"editor-residue":   sealEditors,

		"sockets-and-fifos": sealSockets,
		"mount-points":      sealMountPoints,

		"first-boot-stamp": sealStamps,
	}
}

func homes() []string { return []string{"root", "home/*"} }

func inHomes(w *work, patterns ...string) error { return w.removeMatching(homes(), patterns...) }

func sealParents(w *work) error {
	for _, name := range []string{".", "etc"} {
		if err := w.folder(name, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func sealDevices(w *work) error {
	if err := w.empty("dev"); err != nil {
		return err
	}
	return w.walk(".", func(name string, st fs.FileInfo) error {
		if st.Mode()&fs.ModeDevice == 0 {
			return nil
		}
		return w.remove(name)
	})
}

func sealSockets(w *work) error {
	return w.walk(".", func(name string, st fs.FileInfo) error {
		if st.Mode()&(fs.ModeSocket|fs.ModeNamedPipe) == 0 {
			return nil
		}
		return w.remove(name)
	})
}

func sealMachineID(w *work) error {
	content := ""
	if w.opts.MachineID == MachineIDUninitialized {
		content = "uninitialized\n"
	}
	return w.write("etc/machine-id", []byte(content), 0o444)
}

func sealDBusMachineID(w *work) error {
	const name = "var/lib/dbus/machine-id"
	st, err := w.lstat(name)
	if err != nil || st == nil {
		return err
	}
	if st.Mode().Type() == fs.ModeSymlink {
		target, err := w.root.Readlink(name)
		if err != nil || target == "/etc/machine-id" {
			return err
		}
	}
	return w.remove(name)
}

func sealEngine(w *work) error {
	if err := w.empty("var/lib/docker", "var/lib/containerd"); err != nil {
		return err
	}
	return w.remove("etc/docker/key.json")
}

func sealTLSKeys(w *work) error {
	if err := w.empty("etc/ssl/private"); err != nil {
		return err
	}
	const certs, snakeoil = "etc/ssl/certs", "ssl-cert-snakeoil.pem"
	names, err := w.names(certs)
	if err != nil {
		return err
	}
	for _, name := range names { // links by hash lead to the certificate
		target, err := w.root.Readlink(path.Join(certs, name))
		if name == snakeoil || err == nil && path.Base(target) == snakeoil {
			if err := w.remove(path.Join(certs, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func sealCredentials(w *work) error {
	if err := inHomes(w, ".docker", ".netrc", ".aws", ".azure", ".config", ".kube", ".gnupg", ".git-credentials", ".npmrc", ".pypirc", ".pgpass", ".my.cnf", ".vault-token", ".cloudflared"); err != nil {
		return err
	}
	if err := w.remove("etc/apt/auth.conf"); err != nil {
		return err
	}
	if err := w.empty("etc/apt/auth.conf.d"); err != nil {
		return err
	}
	return w.removeMatching([]string{"etc/apt/apt.conf.d"}, "*proxy*", "*Proxy*")
}

func sealCluster(w *work) error {
	return w.empty("var/lib/tailscale", "var/lib/zerotier-one", "etc/wireguard", "var/lib/kubelet", "etc/kubernetes",
		"var/lib/rancher", "etc/rancher", "var/lib/consul", "opt/consul", "var/lib/nomad", "opt/nomad")
}

func sealLeases(w *work) error {
	if err := w.remove("etc/machine-info", "etc/adjtime", "etc/dhcpcd.duid", "etc/dhcpcd.secret", "etc/dhcp/dhclient.duid"); err != nil {
		return err
	}
	for _, dir := range []string{"var/lib/dhcp", "var/lib/dhcpcd", "var/lib/dhcpcd5", "var/lib/systemd/network", "var/lib/NetworkManager", "var/lib/ifupdown"} {
		if err := w.keepFolders(dir); err != nil {
			return err
		}
	}
	return nil
}

func sealLogs(w *work) error {
	if err := w.empty("var/log/journal"); err != nil {
		return err
	}
	for _, name := range []string{"wtmp", "btmp", "lastlog", "faillog"} {
		if err := w.truncate(path.Join("var/log", name)); err != nil {
			return err
		}
	}
	return w.walk("var/log", func(name string, st fs.FileInfo) error {
		switch base := path.Base(name); {
		case st.IsDir():
			return nil
		case path.Dir(name) == "var/log" && st.Size() == 0 && (base == "wtmp" || base == "btmp" || base == "lastlog" || base == "faillog"):
			return nil
		}
		return w.remove(name)
	})
}

func sealAptCaches(w *work) error {
	for _, dir := range []string{"var/lib/apt/lists", "var/cache/apt"} {
		if err := w.keepFolders(dir); err != nil {
			return err
		}
	}
	return nil
}

func sealUnstableCaches(w *work) error {
	if err := w.remove("var/cache/ldconfig/aux-cache"); err != nil {
		return err
	}
	if err := w.removeMatching([]string{"var/cache/debconf"}, "*-old"); err != nil {
		return err
	}
	if err := w.truncate("var/cache/debconf/passwords.dat"); err != nil {
		return err
	}
	return w.keepFolders("var/cache/man")
}

func sealDpkgBackups(w *work) error {
	if err := w.removeMatching([]string{"var/lib/dpkg"}, "*-old", "available"); err != nil {
		return err
	}
	return w.empty("var/lib/dpkg/updates", "var/backups")
}

func sealServiceGuards(w *work) error {
	if err := w.remove("usr/sbin/policy-rc.d"); err != nil {
		return err
	}
	for _, dir := range []string{"sbin", "usr/sbin"} {
		for _, name := range []string{"start-stop-daemon", "initctl"} {
			name = path.Join(dir, name)
			st, err := w.lstat(name + ".REAL")
			if err != nil {
				return err
			}
			if st == nil {
				continue
			}
			if err := w.root.Rename(name+".REAL", name); err != nil {
				return err
			}
			w.changed(name, "put back")
		}
	}
	return nil
}

func sealHomes(w *work) error {
	return inHomes(w, ".*_history", ".*history", ".lesshst", ".viminfo", ".wget-hsts", ".cache", ".local", ".ansible", ".selected_editor",
		".sudo_as_admin_successful", ".lastlogin", ".Xauthority", ".dbshell", ".recently-used", "snap")
}

func sealBuilderSettings(w *work) error {
	for _, in := range []struct {
		dir      string
		patterns []string
	}{
		{"etc/dpkg/dpkg.cfg.d", []string{"*mmdebstrap*", "*debuerreotype*", "*force-unsafe-io*", "docker-apt-speedup"}},
		{"etc/apt/apt.conf.d", []string{"*mmdebstrap*", "*debuerreotype*", "*debootstrap*", "*no-check-valid-until*"}},
		{"etc/sudoers.d", []string{"*packer*", "*vagrant*"}},
		{".", []string{"packer-*", "debootstrap", ".dockerenv"}},
		{"etc", []string{"packer-*"}},
	} {
		if err := w.removeMatching([]string{in.dir}, in.patterns...); err != nil {
			return err
		}
	}
	return nil
}

func sealEditors(w *work) error {
	if err := w.empty("var/crash", "var/lib/systemd/coredump"); err != nil {
		return err
	}
	for _, dir := range []string{"boot", "etc", "home", "opt", "root", "srv", "usr/local", "var"} {
		err := w.walk(dir, func(name string, st fs.FileInfo) error {
			if !st.Mode().IsRegular() || !leftover(path.Base(name)) {
				return nil
			}
			return w.remove(name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leftover says whether a file name is an editor's backup, a core dump or a
// configuration file that dpkg or ucf put aside.
func leftover(base string) bool {
	if rest, ok := strings.CutPrefix(base, "core."); ok {
		return rest != "" && strings.Trim(rest, "0123456789") == ""
	}
	return matches(base, []string{
		"*~", "#*#", ".*.sw[op]", "*.orig", "*.dpkg-old", "*.dpkg-new", "*.dpkg-dist", "*.dpkg-tmp", "*.dpkg-bak",
		"*.ucf-old", "*.ucf-new", "*.ucf-dist",
	})
}

func sealMountPoints(w *work) error {
	for _, f := range []struct {
		name string
		mode fs.FileMode
	}{
		{"dev", 0o755},
		{"proc", 0o555},
		{"run", 0o755},
		{"sys", 0o555},
		{"tmp", 0o777 | fs.ModeSticky},
		{"var/tmp", 0o777 | fs.ModeSticky},
	} {
		if err := w.folder(f.name, f.mode); err != nil {
			return err
		}
	}
	return nil
}

func sealStamps(w *work) error {
	if err := w.empty("var/lib/felhom", "etc/felhom-bootstrap"); err != nil {
		return err
	}
	return w.remove("opt/docker/felhom-controller/controller.yaml")
}
