package bootstrap

import (
	"context"
	"errors"

	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// classed gives an error of the Docker driver its kind and hint. Other errors
// stay as they are.
func classed(err error) error {
	f, ok := errors.AsType[*docker.FaultError](err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return fault.Wrap(fault.NotReady, err)
		}
		return err
	}
	m := meaning(f.Kind)
	return fault.WrapHint(m.code, err, m.hint)
}

type faultMeaning struct {
	code fault.Kind
	hint string
}

// meaning is the one table from the driver's kind of a fault to that of package
// fault, and to what a person can do about it (docs/bootstrapper.md repeats
// it).
func meaning(k docker.Kind) faultMeaning {
	switch k {
	case docker.Credential401:
		return faultMeaning{fault.Mismatch, "the registry refuses the credential: on the host, renew registry.username and registry.token in this guest's bootstrap.json"}
	case docker.NoCredential:
		return faultMeaning{fault.Mismatch, "the registry wants a credential: on the host, add registry {host, username, token} to this guest's bootstrap.json; registry.host must be the host of controller_image"}
	case docker.Denied:
		return faultMeaning{fault.Mismatch, "the credential is known but has no right to read this repository: give it the right to pull, or correct the repository in controller_image"}
	case docker.UnknownImage:
		return faultMeaning{fault.Failed, "the registry has no such image: check repository and tag of controller_image, and that it was pushed"}
	case docker.WrongPlatform:
		return faultMeaning{fault.Invalid, "build and push the image for this guest's platform, or name one that is"}
	case docker.BadReference:
		return faultMeaning{fault.Invalid, "correct controller_image in bootstrap.json"}
	case docker.Unreachable, docker.TimedOut, docker.CutShort, docker.Stalled:
		return faultMeaning{fault.NotReady, "check that the registry runs and that this guest reaches it (address, route, firewall); the next run tries again"}
	case docker.NoName:
		return faultMeaning{fault.NotReady, "check the name of the registry in controller_image and this guest's name server (/etc/resolv.conf)"}
	case docker.NoNameServer:
		return faultMeaning{fault.NotReady, "this guest has no working name server: check nameserver in /etc/resolv.conf, and on the host the guest's nameserver setting or its DHCP server; the next run tries again"}
	case docker.PolicyDenied:
		return faultMeaning{fault.Mismatch, "a policy of the registry blocks this image (scan, signature, severity): look at the image there, or name one that the policy allows"}
	case docker.ProxyRefused:
		return faultMeaning{fault.NotReady, "a proxy wants a login, or does not let the engine reach this registry: look at the proxy of the engine (systemctl show -p Environment docker.service; proxies in /etc/docker/daemon.json)"}
	case docker.ProxyDown:
		return faultMeaning{fault.NotReady, "the engine's proxy does not answer, or does not reach the registry: check that proxy and its name (systemctl show -p Environment docker.service; proxies in /etc/docker/daemon.json); the next run tries again"}
	case docker.TLSRefused:
		return faultMeaning{fault.NotReady, "the registry, or what is in front of it, ended the TLS handshake: check host and port of controller_image; one that wants a client certificate needs client.cert and client.key in /etc/docker/certs.d/HOST[:PORT] in the guest"}
	case docker.NotAnImage:
		return faultMeaning{fault.Invalid, "controller_image names something that is not a container image, such as a Helm chart: correct its repository or tag"}
	case docker.OldImage:
		return faultMeaning{fault.Invalid, "the image has a manifest of schema 1, which engines do not read any more: build and push it again with a current tool"}
	case docker.UnmappedIDs:
		return faultMeaning{fault.Invalid, "the image has files of a user or group that this guest does not have, most often an id above 65535: build it with smaller ids"}
	case docker.ZstdLayers:
		return faultMeaning{fault.Invalid, "its layers are likely compressed with zstd, which needs Docker 23 or later: update the engine in the golden image, or push the image with gzip layers"}
	case docker.BadLayer:
		return faultMeaning{fault.Failed, "a layer of this image is not a tar archive that the engine reads: build and push the image again"}
	case docker.UntrustedTLS:
		return faultMeaning{fault.Mismatch, "if the message says that the authority is unknown, put the authority's certificate of that registry at /etc/docker/certs.d/HOST[:PORT]/ca.crt in the guest (dockerd needs no restart); if it names another host, use a name of that certificate in controller_image"}
	case docker.ClockOrExpiry:
		return faultMeaning{fault.NotReady, "compare the clocks of guest and host (date -u); when they agree, the registry's certificate must be renewed"}
	case docker.PlainHTTP:
		return faultMeaning{fault.Failed, "the registry speaks HTTP without TLS: give it a certificate, or list it under insecure-registries in /etc/docker/daemon.json"}
	case docker.RateLimited, docker.RegistryBusy:
		return faultMeaning{fault.NotReady, "the registry limits its callers or has a fault of its own; the next run tries again"}
	case docker.BlobMissing:
		return faultMeaning{fault.Failed, "the registry lost a part of this image: push the image again"}
	case docker.NotARegistry:
		return faultMeaning{fault.NotReady, "something that is not a registry answers in its place, such as a login page, a proxy or a firewall: check address, port and proxy"}
	case docker.Corrupt:
		return faultMeaning{fault.Mismatch, "a layer arrived with another digest than its manifest names: look for a broken proxy or disk, then push the image again"}
	case docker.DiskFull:
		return faultMeaning{fault.Failed, "free space in the guest (docker system df; docker image prune), or enlarge its root file system on the host"}
	case docker.EngineAbsent, docker.EngineGone, docker.Timeout:
		return faultMeaning{fault.NotReady, "look at the engine: systemctl status docker.service; journalctl -u docker.service"}
	case docker.EngineDenied:
		return faultMeaning{fault.Failed, "run as root, or as a user that may use the engine's socket"}
	case docker.NameTaken:
		return faultMeaning{fault.Invalid, "rename or remove that container, then run again"}
	case docker.PortTaken:
		return faultMeaning{fault.NotReady, "find who holds the port (ss -ltnp; docker ps) and end it, or set other ports in container.ports or /etc/felhom/controller-container.yaml"}
	case docker.NetworkMissing:
		return faultMeaning{fault.NotReady, "the engine lost its bridge: systemctl restart docker.service"}
	case docker.AppArmor:
		return faultMeaning{fault.Failed, "AppArmor of the host stops the container runtime in this guest: on the host, update pve-lxc-syscalld and lxc-pve, or run a runc older than 1.3.3 in the guest"}
	case docker.APIVersion:
		return faultMeaning{fault.Failed, "engine and bootstrapper have no API version in common (1.41 to 1.51): update the older one"}
	}
	return faultMeaning{fault.Failed, "this program does not know these words of the engine: read journalctl -u docker.service, and the registry's log; the next run tries again"}
}
