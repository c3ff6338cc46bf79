package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
)

// packageOf has the Debian packages with a command, in order of preference: the
// CLI moved out of docker.io after Debian 12.
func packageOf(command string) []string {
	switch command {
	case "dockerd":
		return []string{"docker.io"}
	case "docker":
		return []string{"docker.io", "docker-cli"}
	case "ip":
		return []string{"iproute2"}
	case "lxc-start":
		return []string{"lxc"}
	case "ansible-playbook":
		return []string{"ansible-core"}
	case "ssh", "ssh-keygen":
		return []string{"openssh-client"}
	case "nginx":
		return []string{"nginx-light"}
	case "mkfs.ext4":
		return []string{"e2fsprogs"}
	case "newuidmap":
		return []string{"uidmap"}
	}
	return []string{command} // docker-registry, curl, jq, iptables, zstd
}

const policyFile = "/usr/sbin/policy-rc.d"

// Require ensures that commands are installed, and installs missing ones by
// apt-get, without starting a package's service.
func Require(ctx context.Context, log io.Writer, commands ...string) (err error) {
	missing := missingOf(commands)
	if len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 || len(missingOf([]string{"apt-get"})) != 0 {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("missing: %s", strings.Join(missing, ", ")),
			"install them, or run as root on Debian and they are installed by apt-get")
	}
	removeGuard, err := guardServices()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeGuard()) }()

	_, _ = fmt.Fprintf(log, "installing Debian packages for: %s\n", strings.Join(missing, ", "))
	if err := aptGet(ctx, "update"); err != nil {
		return err
	}
	for round := range 2 {
		var packages []string
		for _, command := range missing {
			if of := packageOf(command); round < len(of) && !slices.Contains(packages, of[round]) {
				packages = append(packages, of[round])
			}
		}
		if len(packages) == 0 {
			break
		}
		if err := aptGet(ctx, append([]string{"install", "--yes", "--no-install-recommends"}, packages...)...); err != nil {
			return err
		}
		if missing = missingOf(commands); len(missing) == 0 {
			return nil
		}
	}
	return fault.Errorf(fault.NotReady, "still missing after apt-get install: %s", strings.Join(missing, ", "))
}

func missingOf(commands []string) []string {
	var missing []string
	for _, c := range commands {
		if _, err := exec.LookPath(c); err != nil {
			missing = append(missing, c)
		}
	}
	return missing
}

func aptGet(ctx context.Context, args ...string) error {
	_, err := run.Run(ctx, run.Cmd{
		Path: "apt-get",
		Args: append([]string{"-o", "DPkg::Lock::Timeout=300", "--quiet"}, args...),
		Env:  append(os.Environ(), "DEBIAN_FRONTEND=noninteractive"),
	})
	return fault.WrapHint(fault.NotReady, err, "check the machine's apt sources and network, or install the packages yourself")
}

// guardServices prevents packages from starting their services while they are
// installed. An existing policy is the administrator's, and stays.
func guardServices() (remove func() error, err error) {
	f, err := os.OpenFile(policyFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, os.ErrExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("#!/bin/sh\n# felhom test bed: removed again after apt-get\nexit 101\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(policyFile))
	}
	return func() error { return os.Remove(policyFile) }, nil
}
