package recipe

import (
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// The types in daemon.json, by Docker's documentation, where a slip in YAML gives
// another one. A key that is in none of them is left to dockerd itself, which
// validates the whole file in the finished image.
var (
	textMaps = []string{"log-opts"}
	lists    = []string{
		"allow-nondistributable-artifacts", "authorization-plugins", "cdi-spec-dirs", "dns", "dns-opts", "dns-search", "exec-opts", "hosts",
		"insecure-registries", "labels", "registry-mirrors", "storage-opts",
	}
	objects = []string{"default-address-pools", "default-network-opts", "default-ulimits", "node-generic-resources", "runtimes"}
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
func checkDaemon(doc *strictyaml.Document, daemon map[string]any) {
	const base = "docker.daemon"
	for _, key := range slices.Sorted(maps.Keys(daemon)) {
		v, ok := doc.At(strictyaml.Join(base, key))
		if !ok {
			continue
		}
		switch {
		case slices.Contains(textMaps, key):
			v.Pairs(func(_ string, val strictyaml.Value) { val.Text() })
		case slices.Contains(lists, key):
			v.Items(func(_ int, item strictyaml.Value) { item.Text() })
		case key == "default-shm-size" && v.IsText():
		case slices.Contains(numbers, key):
			v.Int()
		case slices.Contains(switches, key):
			v.Bool()
		case slices.Contains(texts, key):
			v.Text()
		default:
			for _, plural := range slices.Concat(textMaps, lists, objects) {
				if key == singular(plural) {
					v.Add("unknown key; did you mean %q?", plural)
				}
			}
		}
	}
}

// singular returns dockerd's flag for a key that holds several values.
func singular(key string) string {
	if stem, ok := strings.CutSuffix(key, "ies"); ok {
		return stem + "y"
	}
	return strings.TrimSuffix(key, "s")
}

// daemonFile is what docker.daemon becomes.
const daemonFile = "/etc/docker/daemon.json"

// checkLogs requires a limit for the logs of containers: without one the archive
// is refused when all of the work is done. A daemon.json that the recipe's files
// or scripts write is checked in the finished image.
func checkLogs(doc *strictyaml.Document, r *Recipe) {
	const base = "docker.daemon"
	for _, f := range r.Files {
		if f.Path == daemonFile {
			return
		}
	}
	if len(r.Docker.Daemon) == 0 {
		if len(r.Scripts) == 0 && !slices.ContainsFunc(r.Files, func(f File) bool { return f.Source != "" && strings.HasPrefix(daemonFile, f.Path+"/") }) {
			doc.Add(base, "no key is given, want at least a limit for containers' logs, as log-driver: local has")
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
		at = strictyaml.Join(at, key)
	}
	if problem != "" {
		doc.Add(at, "%s", problem)
	}
}
