package seal

import (
	"io/fs"
	"path"
	"slices"

	"github.com/felhom/felhom-golden/golden/internal/rules"
)

// action seals one rule. It is safe to repeat and reports only what it changed.
type action func(*work) error

// actions has an entry for each rule whose paths do not say all that seal does.
func actions() map[string]action {
	return map[string]action{
		"config-first":      func(w *work) error { return w.remove("etc/vzdump") },
		"device-nodes":      sealDevices,
		"machine-id":        sealMachineID,
		"dbus-machine-id":   sealDBusMachineID,
		"passwords":         sealPasswords,
		"tls-keys":          sealCertificateLinks,
		"host-name":         sealHostName,
		"resolv-conf":       func(w *work) error { return w.write("etc/resolv.conf", nil, 0o644) },
		"service-guards":    sealServiceGuards,
		"sockets-and-fifos": sealSockets,
	}
}

// sealPaths does what the paths of a rule demand.
func sealPaths(w *work, r rules.Rule) error {
	for _, pattern := range r.Empty {
		if err := w.removeAll(pattern + "/*"); err != nil {
			return err
		}
	}
	for _, pattern := range r.Absent {
		if err := w.removeAll(pattern); err != nil {
			return err
		}
	}
	for _, name := range r.Cut {
		if err := w.truncate(name); err != nil {
			return err
		}
	}
	for _, dir := range r.DirsOnly {
		err := w.walk(dir, func(name string, st fs.FileInfo) error {
			if st.IsDir() || slices.Contains(r.Cut, name) {
				return nil
			}
			return w.remove(name)
		})
		if err != nil {
			return err
		}
	}
	for _, dir := range r.Trees {
		err := w.walk(dir, func(name string, st fs.FileInfo) error {
			if !st.Mode().IsRegular() || !matches(path.Base(name), r.Leftovers) {
				return nil
			}
			return w.remove(name)
		})
		if err != nil {
			return err
		}
	}
	for _, d := range r.Dirs {
		mode := fs.FileMode(d.Mode & 0o777)
		if d.Mode&0o1000 != 0 {
			mode |= fs.ModeSticky
		}
		if err := w.makeDir(d.Path, mode); err != nil {
			return err
		}
	}
	return nil
}

func sealDevices(w *work) error {
	if err := w.removeAll("dev/*"); err != nil {
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

// sealCertificateLinks removes the links by hash to the certificate that the
// rule removes.
func sealCertificateLinks(w *work) error {
	const certs = "etc/ssl/certs"
	names, err := w.names(certs)
	if err != nil {
		return err
	}
	for _, name := range names {
		target, err := w.root.Readlink(path.Join(certs, name))
		if err == nil && path.Base(target) == "ssl-cert-snakeoil.pem" {
			if err := w.remove(path.Join(certs, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func sealServiceGuards(w *work) error {
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
