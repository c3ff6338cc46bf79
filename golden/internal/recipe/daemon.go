package recipe

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/golden/internal/rules"
)

// The shapes of daemon.json, by Docker's documentation, where a YAML slip gives
// another one. A key that is in none of them is left to dockerd itself, which
// validates the whole file in the finished image.
var (
	textMaps = []string{"log-opts"}
	lists    = []string{
		"allow-nondistributable-artifacts", "authorization-plugins", "cdi-spec-dirs", "dns", "dns-opts", "dns-search", "exec-opts", "hosts",
		"insecure-registries", "labels", "registry-mirrors", "storage-opts",
	}
	numbers = []string{
		"cpu-rt-period", "cpu-rt-runtime", "default-shm-size", "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts",
		"mtu", "network-control-plane-mtu", "oom-score-adjust", "shutdown-timeout",
	}
	switches = []string{
		"debug", "experimental", "icc", "ip-forward", "ip-masq", "ip6tables", "iptables", "ipv6", "live-restore", "no-new-privileges", "raw-logs",
		"selinux-enabled", "tls", "tlsverify", "userland-proxy",
	}
	texts = []string{
		"bip", "bridge", "cgroup-parent", "containerd", "containerd-namespace", "containerd-plugins-namespace", "data-root", "default-cgroupns-mode",
		"default-gateway", "default-gateway-v6", "default-ipc-mode", "default-runtime", "exec-root", "fixed-cidr", "fixed-cidr-v6", "group",
		"host-gateway-ip", "init-path", "ip", "log-driver", "log-format", "log-level", "metrics-addr", "pidfile", "seccomp-profile", "storage-driver",
		"swarm-default-advertise-addr", "tlscacert", "tlscert", "tlskey", "userland-proxy-path", "userns-remap",
	}
)

// checkDaemon compares the types of docker.daemon with those that dockerd reads.
func checkDaemon(d *decoder, daemon map[string]any) {
	keys := make([]string, 0, len(daemon))
	for key := range daemon {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	const base = "docker.daemon."
	for _, key := range keys {
		n := d.at[base+key]
		if n == nil {
			continue
		}
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		scalar := n.Kind == yaml.ScalarNode
		switch {
		case slices.Contains(textMaps, key):
			checkTextMap(d, base+key, n)
		case slices.Contains(lists, key):
			if n.Kind != yaml.SequenceNode {
				d.wrong(base+key, "want a list of texts, got %s", describe(n))
				continue
			}
			for i, item := range n.Content {
				if item.Tag != "!!str" {
					d.wrong(index(base+key, i), "want text, got %s: write it in quotes", describe(item))
				}
			}
		case slices.Contains(numbers, key) && (!scalar || n.Tag != "!!int") && (key != "default-shm-size" || n.Tag != "!!str"):
			d.wrong(base+key, "want a whole number, got %s", describe(n))
		case slices.Contains(switches, key) && (!scalar || n.Tag != "!!bool"):
			d.wrong(base+key, "want true or false, got %s", describe(n))
		case slices.Contains(texts, key) && (!scalar || n.Tag != "!!str"):
			d.wrong(base+key, "want text, got %s: write it in quotes", describe(n))
		case strings.HasSuffix(key, "-opt") && slices.Contains(slices.Concat(textMaps, lists), key+"s"):
			d.wrong(base+key, "unknown key: did you mean %q?", key+"s")
		}
	}
}

func checkTextMap(d *decoder, at string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.wrong(at, "want keys with texts, got %s", describe(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		val := n.Content[i+1]
		if val.Kind == yaml.AliasNode {
			val = val.Alias
		}
		if val.Kind != yaml.ScalarNode || val.Tag != "!!str" {
			d.wrong(join(at, n.Content[i].Value), "want text, got %s: write it in quotes", describe(val))
		}
	}
}

// daemonFile is what docker.daemon becomes.
const daemonFile = "/etc/docker/daemon.json"

// checkLogs wants a bound for the logs of containers: without one the archive is
// refused when all of the work is done. A file of the recipe, or one that a
// script may write, is looked at when it is there.
func checkLogs(d *decoder, r *Recipe) {
	const base = "docker.daemon"
	for _, f := range r.Files {
		if f.Path == daemonFile {
			return
		}
	}
	if len(r.Docker.Daemon) == 0 {
		if len(r.Scripts) == 0 && !slices.ContainsFunc(r.Files, func(f File) bool { return f.Source != "" && strings.HasPrefix(daemonFile, f.Path+"/") }) {
			d.wrong(base, "nothing in it, want at least a limit for containers' logs, as log-driver: local has")
		}
		return
	}
	driver, isText := r.Docker.Daemon["log-driver"].(string)
	opts, isMap := r.Docker.Daemon["log-opts"].(map[string]any)
	if (r.Docker.Daemon["log-driver"] != nil && !isText) || (r.Docker.Daemon["log-opts"] != nil && !isMap) {
		return // of a wrong type, which has its finding
	}
	key, problem := rules.LogProblem(driver, opts)
	at := base
	if opts != nil {
		at = base + ".log-opts"
	}
	if key != "" {
		at = join(at, key)
	}
	if problem != "" {
		d.wrong(at, "%s", problem)
	}
}
