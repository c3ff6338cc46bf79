package testbed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/engineapi"
	"github.com/felhom/felhom-golden/internal/fault"
)

// controllerName is the container that the bootstrapper makes. An engine that
// has one is a real guest, and must not be tested on.
const controllerName = "felhom-controller"

const defaultSocket = "/var/run/docker.sock"

// runningEngine returns the address of an engine of this machine that answers
// and may be used, or "" and why there is none.
func runningEngine(ctx context.Context) (host, why string, err error) {
	host = os.Getenv("DOCKER_HOST")
	if host == "" {
		host = "unix://" + defaultSocket
	} else if !strings.HasPrefix(host, "unix://") {
		return "", "", fault.WrapHint(fault.Misuse, fmt.Errorf("DOCKER_HOST is %q, want unix://PATH or nothing", host),
			"an engine on another machine cannot reach the test bed's bridge; unset DOCKER_HOST")
	}
	engine, err := NewEngine(host)
	if err != nil {
		return "", "", err
	}
	defer engine.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := engine.Answers(ctx); err != nil {
		return "", "no engine answers on " + host, nil //nolint:nilerr // then we start one
	}
	_, err = engine.ContainerInspect(ctx, controllerName)
	if err == nil {
		return "", "the engine on " + host + " runs a " + controllerName + " of its own, which stays untouched", nil
	}
	if !engineapi.IsNotFound(err) {
		return "", "", err
	}
	return host, "", nil
}

// dockerd's own mount and process namespaces end with it, whatever ends it:
// containerd, shims, containers, overlay and network namespace mounts go with
// them. Mounts that are made outside later are still seen inside (rslave).
// /run is its own because shim and plugin sockets are at fixed paths in it.
const dockerdScript = `set -e
mount --make-rslave /
mount -t proc proc /proc
mount -t tmpfs -o mode=0755 tmpfs /run
exec dockerd "$@"`

// startEngine starts a Docker Engine that shares nothing with another one:
// neither directories nor bridge, firewall (it gets no rules) or cgroup. Ports
// are published on the bridge's address alone. config is its daemon.json;
// empty: none.
func startEngine(ctx context.Context, b Bed, cgroup, config string) (*Daemon, error) {
	socket := strings.TrimPrefix(b.DockerHost, "unix://")
	cmd := exec.Command("sh", "-c", dockerdScript, "dockerd",
		"--config-file", filepath.Join(b.Dir, "daemon.json"),
		"--data-root", filepath.Join(b.Dir, "docker"),
		"--exec-root", filepath.Join(b.Dir, "exec"),
		"--pidfile", filepath.Join(b.Dir, "docker.pid"),
		"--host", b.DockerHost,
		"--group", "root",
		"--bridge", b.Bridge,
		"--ip", b.Address,
		"--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
		"--exec-opt", "native.cgroupdriver=cgroupfs",
		"--cgroup-parent", "/"+cgroup,
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if err := os.WriteFile(filepath.Join(b.Dir, "daemon.json"), []byte(cmp.Or(config, "{}")+"\n"), 0o600); err != nil {
		return nil, err
	}
	d, err := StartDaemon("dockerd", cmd, filepath.Join(b.Dir, "dockerd.log"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	engine, err := NewEngine(b.DockerHost)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	err = d.Wait(ctx, func(ctx context.Context) error {
		if _, err := os.Stat(socket); err != nil {
			return err
		}
		return engine.Answers(ctx)
	})
	if err != nil {
		return nil, errors.Join(err, d.StopAnyway())
	}
	return d, nil
}
