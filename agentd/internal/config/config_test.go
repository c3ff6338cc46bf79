package config_test

import (
	"errors"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

const minimal = `host_id: demo-felhom
hub_url: https://hub.example
controller_image: gitea.dooplex.hu/admin/felhom-controller:v0.34.0
`

var compareAddrPort = cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{}, netip.Addr{}, contract.Digest{})

func wantMinimal() config.Config {
	return config.Config{
		HostID: "demo-felhom", HubURL: "https://hub.example",
		ControllerImage: "gitea.dooplex.hu/admin/felhom-controller:v0.34.0",
		Bridge:          "vmbr0", StateDir: "/var/lib/felhom-agentd", StoreDir: "/var/lib/felhom-agentd/guests",
		MountsDir: "/var/lib/felhom/mounts", HealthSocket: "/run/felhom-agentd/health.sock", IDMapBase: 100000, RegistryAccess: "none",
		Profile: "felhom", MountOwner: "host", IDMap: "shared", LXCPath: "/var/lib/felhom/guests", Origin: config.OriginObserve, Firewall: config.FirewallOff,
		Provision: config.Defaults{Guest: config.Guest{Bridge: "vmbr0"}, Wait: 5 * time.Minute, Clone: config.CloneNever, TemplateVMIDs: config.DefaultTemplateVMIDs},
		Limits:    config.Limits{ConnectionsPerSource: 16, ConnectionsTotal: 2048, HandshakesPerSecond: 20, TokenOverlap: 24 * time.Hour, ReportsPerMinute: 120},
	}
}

// Three lines are enough for other images than felhom's.
func TestParsePlain(t *testing.T) {
	got, err := config.Parse("agentd.yaml", []byte("controller_image: registry.example/app:1\nprofile: plain\nhypervisor: lxc\n"))
	if err != nil || got.Profile != contract.ProfilePlain || got.HostID != "" || got.HubURL != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Mistakes in the container's settings are found with the others, by place.
func TestContainerFindings(t *testing.T) {
	text := "profile: simple\nready_wait: soon\nenv_file: x\ncontainer:\n  ports: 9001:9001\n  volums: [x]\n  memory: lots\n  environment: {A: [hunter2]}\n"
	_, err := config.Parse("f", []byte(minimal+text))
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{
		"f:4:10: error: profile: ", "f:5:13: error: ready_wait: ", "f:6:11: error: env_file: ", "f:8:10: error: container.ports: ",
		"f:9:3: error: container", "f:10:11: error: container.memory: ", "f:11:20: error: container.environment.A: ",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("finding %d of\n%v\ndoes not begin with %q", i, err, want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), `did you mean "volumes"?`) {
		t.Errorf("findings:\n%v", err)
	}
}

func TestContainerFlags(t *testing.T) {
	got, err := config.ContainerFlags{
		Env: []string{"A=1", "B=x,y=z", "A=2"}, Labels: []string{"com.example.a=b"}, Publish: []string{"9001:9001"}, Volumes: []string{"data:/data"},
		Memory: "256m", Command: `serve --title 'two words' ""`,
	}.Container()
	want := &contract.Container{
		Ports: []string{"9001:9001"}, Volumes: []string{"data:/data"}, Environment: map[string]string{"A": "2", "B": "x,y=z"}, Memory: "256m",
		Labels: map[string]string{"com.example.a": "b"}, Command: []string{"serve", "--title", "two words", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, want -, got +:\n%s", err, diff)
	}
	if got, err := (config.ContainerFlags{}).Container(); got != nil || err != nil {
		t.Errorf("without flags: %v, %v", got, err)
	}
	_, err = config.ContainerFlags{
		Env: []string{"hunter2"}, Labels: []string{"org.felhom.x=hunter2"}, Publish: []string{"x"}, Volumes: []string{"./d:/d"}, Memory: "1", Command: "'hunter2",
	}.Container()
	for _, flag := range []string{"--env: ", "--label: ", "--publish: ", "--volume: ", "--memory: ", "--command: "} {
		if err == nil || !strings.Contains(err.Error(), flag) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want %s in it and no value", err, flag)
		}
	}
}

func TestParseMinimal(t *testing.T) {
	got, err := config.Parse("agentd.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantMinimal(), got, compareAddrPort); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// The full example of the operator's page is the one that is tested: every key
// is in it, and it parses as printed.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../../../docs/agentd.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(page)
	if m == nil {
		t.Fatal("docs/agentd.md has no yaml block")
	}
	got, err := config.Parse("docs/agentd.md", m[1])
	if err != nil {
		t.Fatal(err)
	}
	want := wantMinimal()
	want.ControllerImage = "registry.example/team/app:1.0"
	want.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:8443"), netip.MustParseAddrPort("[2001:db8::7]:8443")}
	want.Registry = &config.Registry{Host: "registry.example", Username: "puller", TokenFile: "/etc/felhom/registry-token"}
	want.Registries = []config.Registry{{
		Host: "registry.example:5000", Username: "puller", Credential: "registry-example", CAFile: "/etc/felhom/registry-example.pem",
		TokenHosts: []string{"auth.example"}, BlobHosts: []string{"objects.example:9000"},
	}}
	want.RegistryAccess = "proxy"
	want.Repositories = []config.Repository{{Host: "docker.io", Path: "library/postgres", Tag: "17"}, {Host: "registry.example:5000", Path: "team/apps"}}
	want.Cache = &config.Cache{Dir: "/var/lib/felhom-agentd/blobs", Size: 20 << 30}
	want.ReadyWait = 5 * time.Minute
	want.StorageDir = "/var/lib/felhom/guests"
	want.Tokens = config.Tokens{RotateEvery: 30 * 24 * time.Hour, ExpireAfter: 60 * 24 * time.Hour}
	want.StatusListen = netip.MustParseAddrPort("127.0.0.1:8444")
	want.ManifestDigest = "sha256:" + strings.Repeat("1f", 32)
	want.ConfigDigest = "sha256:" + strings.Repeat("2e", 32)
	want.Hypervisor = "pct"
	want.Container = &contract.Container{
		Ports: []string{"8080:8080", "8081:8081"}, Environment: map[string]string{"TZ": "Europe/Budapest"}, Memory: "512m",
	}
	want.EnvFile = "/etc/felhom/guests.env"
	swap, yes := 512, true
	want.Provision.Guest = config.Guest{
		Golden: "local:backup/vzdump-lxc-9100-2026_11_24-02_12_15.tar.zst", Storage: "local-lvm", Rootfs: 16, Bridge: "vmbr0", VLAN: 20,
		Gateway: netip.MustParseAddr("192.0.2.1"), Gateway6: netip.MustParseAddr("fe80::1"), Nameserver: "192.0.2.53", Cores: 2, Memory: 2048, Swap: &swap, OnBoot: &yes, Start: &yes,
	}
	want.Provision.Clone = config.CloneAuto
	if diff := cmp.Diff(want, got, compareAddrPort); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// topKeys are the keys of agentd.yaml, as a finding lists them.
const topKeys = "bridge, cache, container, controller_image, controller_image_config_digest, controller_image_manifest_digest, env_file, firewall, health_socket, host_id, hub_url, " +
	"hypervisor, id_map, id_map_base, key_dir, limits, listen, lxc, mount_owner, mounts_dir, origin, profile, provision, ready_wait, registries, registry, registry_access, registry_mirror, repositories, state_dir, status_listen, storage, store_dir, tokens"

func TestParseFindings(t *testing.T) {
	cases := []struct{ name, input, want string }{
		{"empty", "", `1:1: error: controller_image: is missing`},
		{"not a mapping", "- a\n", `1:1: error: want keys with values, got a list`},
		{"not YAML", "host_id: a\nhub_url: [\n", `2:1: error: not YAML: did not find expected node content`},
		{"typo", minimal + "listne: []\n", `4:1: error: listne: unknown key; did you mean "listen"?`},
		{"upper case", minimal + "Bridge: vmbr1\n", `4:1: error: Bridge: unknown key; did you mean "bridge"?`},
		{"unlike any key", minimal + "frobnicate: 1\n", `4:1: error: frobnicate: unknown key; want one of ` + topKeys},
		{"key twice", minimal + "host_id: other\n", `4:1: error: host_id: the key is given twice; the first is in line 1`},
		{"second document", minimal + "---\nhost_id: x\n", `4:1: error: a second document follows: want one`},
		{"alias", minimal + "bridge: &b vmbr1\nstate_dir: *b\n", `4:9: error: bridge: anchors and aliases are not read here; write the value out
5:12: error: state_dir: anchors and aliases are not read here; write the value out`},
		{"hub without tls", strings.Replace(minimal, "https", "http", 1), `2:10: error: hub_url: want https, got "http"`},
		{"hub with password", strings.Replace(minimal, "hub.example", "u:p@hub.example", 1), `2:10: error: hub_url: must not hold a user name or password: it is written into every guest`},
		{"hub with query", strings.Replace(minimal, "hub.example", "hub.example/?a=b", 1), `2:10: error: hub_url: must not hold a query or fragment`},
		{"hub without scheme", strings.Replace(minimal, "https://hub.example", "hub", 1), `2:10: error: hub_url: want a URL like https://hub.example, got "hub"`},
		{"host id with blank", strings.Replace(minimal, "demo-felhom", "demo felhom", 1), `1:10: error: host_id: want 1 to 63 letters, digits, dots, hyphens or underscores, got "demo felhom"`},
		{"short image", strings.Replace(minimal, "gitea.dooplex.hu/admin/felhom-controller:v0.34.0", "nginx", 1), `3:19: error: controller_image: the registry is missing; write the full reference, as in registry.example/team/app:1.0, got "nginx"`},
		{"digest of another form", minimal + "controller_image_config_digest: sha512:00\n", `4:33: error: controller_image_config_digest: the digest does not begin with "sha256:"; no other algorithm is accepted, got "sha512:00"`},
		{"null", minimal + "bridge:\n", `4:8: error: bridge: want text, got nothing`},
		{"bridge with slash", minimal + "bridge: a/b\n", `4:9: error: bridge: want the name of a network interface, got "a/b"`},
		{"relative directory", minimal + "state_dir: var\n", `4:12: error: state_dir: want a clean absolute path, got "var"`},
		{"directory with dots", minimal + "mounts_dir: /var/../etc\n", `4:13: error: mounts_dir: want a clean absolute path, got "/var/../etc"`},
		{"status page for the LAN", minimal + "status_listen: 192.0.2.7:8444\n", `4:16: error: status_listen: 192.0.2.7 is not a loopback address, and the page asks for no password; reach it by: ssh -L 8444:127.0.0.1:8444`},
		{"status page everywhere", minimal + "status_listen: \"[::]:8444\"\n", `4:16: error: status_listen: :: is not a loopback address, and the page asks for no password; reach it by: ssh -L 8444:127.0.0.1:8444`},
		{"status page without a port", minimal + "status_listen: 127.0.0.1:0\n", `4:16: error: status_listen: port 0 is a different one at each start`},
		{"status page by name", minimal + "status_listen: localhost:8444\n", `4:16: error: status_listen: want a loopback address and a port like 127.0.0.1:8444, got "localhost:8444"`},
		{"long socket", minimal + "health_socket: /" + strings.Repeat("a", 100) + "\n", `4:16: error: health_socket: has 101 bytes, a Unix socket's path may have 97`},
		{
			"every bad listen at once", minimal + "listen: [\"0.0.0.0:8443\", \"10.0.0.1\", \"10.0.0.1:0\", \"10.0.0.2:1\", \"10.0.0.2:1\", \"[fe80::1]:1\", {}]\n",
			`4:10: error: listen[0]: 0.0.0.0 means every interface; name the bridge's own addresses, or set bridge and leave listen out
4:26: error: listen[1]: want address:port like 192.0.2.7:8443, got "10.0.0.1"
4:38: error: listen[2]: port 0 is a different one at each start; guests need a fixed one
4:66: error: listen[4]: 10.0.0.2:1 is given twice
4:80: error: listen[5]: guests cannot be told to use fe80::1; name an ordinary address of the bridge
4:95: error: listen[6]: want text, got keys with values`,
		},
		{"empty listen", minimal + "listen: []\n", `4:9: error: listen: want a list of address:port, got an empty list`},
		{"half a registry", minimal + "registry: {host: gitea.dooplex.hu}\n", `4:11: error: registry.token_file: is missing
4:11: error: registry.username: is missing`},
		{"registry with path", minimal + "registry: {host: a/b, username: \"a b\", token_file: t}\n", `4:18: error: registry.host: want host or host:port, got "a/b"
4:33: error: registry.username: want visible ASCII characters without blanks
4:52: error: registry.token_file: want a clean absolute path, got "t"`},
		{"token in the file", minimal + "registry: {host: h, username: u, token: secret}\n", `4:11: error: registry.token_file: is missing
4:34: error: registry.token: unknown key; want one of blob_hosts, ca_file, credential, host, token_file, token_hosts, username`},
		{
			"numbers", minimal + "id_map_base: -1\nlimits: {connections_total: many, connections_per_source: 0, token_overlap: 8d}\n",
			`4:14: error: id_map_base: want a whole number from 0 to 4294967294, got -1
5:29: error: limits.connections_total: want a whole number from 1 to 65536, got "many"
5:59: error: limits.connections_per_source: want a whole number from 1 to 4096, got 0
5:77: error: limits.token_overlap: want a duration like 10m, from 0s to 168h0m0s, got "8d"`,
		},
		{
			"clones", minimal + "provision: {clone: sometimes, template_vmids: 9949-9900}\n",
			`4:20: error: provision.clone: want never or auto or always, got "sometimes"
4:47: error: provision.template_vmids: want the lower VMID first, got "9949-9900"`,
		},
		{
			"templates", minimal + "provision: {template_vmids: 9000-99999}\n",
			`4:29: error: provision.template_vmids: want at most 1000 VMIDs, got 91000`,
		},
		{
			"provisioning", minimal + "hypervisor: kvm\nmount_owner: me\nprovision: {vmid: 8200, golden: x.tar, ip: dhcp, wait: 1d, start: 1}\n",
			`4:13: error: hypervisor: want pct or lxc, got "kvm"
5:14: error: mount_owner: want host or guest, got "me"
6:13: error: provision.vmid: unknown key; want one of bridge, clone, cores, gateway, gateway6, golden, memory, nameserver, onboot, rootfs, start, storage, swap, template_vmids, vlan, wait
6:33: error: provision.golden: want a clean absolute path or a volume like local:backup/vzdump-lxc-9100-2026_11_26-12_00_00.tar.zst, got "x.tar"
6:40: error: provision.ip: unknown key; want one of bridge, clone, cores, gateway, gateway6, golden, memory, nameserver, onboot, rootfs, start, storage, swap, template_vmids, vlan, wait
6:56: error: provision.wait: want a duration like 10m, from 0s to 24h0m0s, got "1d"
6:67: error: provision.start: want true or false, got 1`,
		},
		{"storage without kind", minimal + "storage: {}\n", `4:10: error: storage.folder: is missing`},
		{"too large", minimal + strings.Repeat("#", config.MaxBytes), `1:1: error: the file has 65653 bytes, which exceeds the limit of 65536`},
		{"control characters in a key", minimal + "\"\\e[2J\": 1\n", `4:1: error: \x1b[2J: unknown key; want one of ` + topKeys},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := config.Parse("f", []byte(c.input))
			if _, ok := errors.AsType[*strictyaml.Findings](err); !ok {
				t.Fatalf("got %+v, %v, want findings", got, err)
			}
			want := "f:" + strings.ReplaceAll(c.want, "\n", "\nf:")
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", minimal, minimal + "listen: [\"10.0.0.1:1\"]\n", "a: &a [*a]\n", "\x00", "{"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := config.Parse("f", []byte(s))
		if err == nil {
			return
		}
		refused, ok := errors.AsType[*strictyaml.Findings](err)
		if !ok || len(refused.List) == 0 {
			t.Fatalf("error %v without findings", err)
		}
		lines := strings.Count(s, "\n") + 2
		for _, got := range refused.List {
			if got.Line < 1 || got.Line > lines || got.Column < 1 {
				t.Errorf("finding at %d:%d of %d lines", got.Line, got.Column, lines)
			}
		}
	})
}
