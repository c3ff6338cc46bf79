package recipe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/strictyaml"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func TestDefault(t *testing.T) {
	r, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("again", DefaultYAML())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, again); diff != "" {
		t.Errorf("the default laid over itself differs, -want +got:\n%s", diff)
	}
	if r.Suite != "trixie" || r.Guest.VMID != 9100 || !r.Guest.OnBoot || len(r.Units.Mask) == 0 {
		t.Errorf("the default lacks values: %+v", r)
	}
}

func TestParseKeepsDefaults(t *testing.T) {
	r, err := Parse("x", []byte("version: 1\nguest: {memory: 4096}\npackages:\n  include: [vim]\nunits: {disable: []}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Guest.Memory != 4096 || r.Guest.Swap != 512 || r.Suite != "trixie" || len(r.Units.Disable) != 0 || len(r.Units.Mask) == 0 {
		t.Errorf("want only the given keys replaced, got %+v", r)
	}
}

// TestParseRefuses has one broken sample for every rule.
func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "x:1:1: error: the document is empty"},
		{"comment only", "# nothing\n", "the document is empty"},
		{"null", "~\n", "x:1:1: error: the document is empty"},
		{"syntax", "version: 1\nsuite: [\n", "x:2:1: error: not YAML: "},
		{"list for document", "- a\n", "x:1:1: error: want keys with values, got a list"},
		{"two documents", "version: 1\n---\nversion: 1\n", "a second document follows"},
		{"unknown key", "suit: trixie\n", `x:1:1: error: suit: unknown key; did you mean "suite"?`},
		{"unknown key, no near one", "zzzzzz: 1\n", "unknown key; want one of allow, apt"},
		{"unknown nested key", "guest:\n  memroy: 1\n", `x:2:3: error: guest.memroy: unknown key; did you mean "memory"?`},
		{"duplicate key", "version: 1\nversion: 1\n", "x:2:1: error: version: the key is given twice; the first is in line 1"},
		{"daemon: number for text", "docker:\n  daemon:\n    log-opts: {max-size: 10m, max-file: 3}\n", "x:3:41: error: docker.daemon.log-opts.max-file: want text, got 3: write it in quotes"},
		{"daemon: bool for text", "docker: {daemon: {log-opts: {compress: true}}}\n", "docker.daemon.log-opts.compress: want text, got true"},
		{"daemon: text for list", "docker: {daemon: {dns: 1.1.1.1}}\n", `docker.daemon.dns: want a list, got "1.1.1.1"`},
		{"daemon: number in list", "docker: {daemon: {exec-opts: [1]}}\n", "docker.daemon.exec-opts[0]: want text, got 1"},
		{"daemon: text for bool", "docker: {daemon: {live-restore: \"true\"}}\n", `docker.daemon.live-restore: want true or false, got "true"`},
		{"daemon: text for number", "docker: {daemon: {mtu: \"1400\"}}\n", `docker.daemon.mtu: want a whole number, got "1400"`},
		{"daemon: list for text", "docker: {daemon: {bip: [a]}}\n", "docker.daemon.bip: want text, got a list"},
		{"daemon: near key", "docker: {daemon: {log-opt: {x: y}}}\n", `docker.daemon.log-opt: unknown key; did you mean "log-opts"?`},
		{"daemon: logs without a limit", "docker:\n  daemon:\n    storage-driver: overlay2\n", "x:3:5: error: docker.daemon: log-driver \"json-file\" without log-opts max-size"},
		{"daemon: other log options", "docker:\n  daemon:\n    log-driver: json-file\n    log-opts: {max-file: \"3\"}\n", "x:4:15: error: docker.daemon.log-opts: log-driver \"json-file\" without log-opts max-size"},
		{"daemon: log limit of nothing", "docker: {daemon: {log-driver: local, log-opts: {max-size: \"-1\"}}}\n", "docker.daemon.log-opts.max-size: log-opts max-size -1: want a size"},
		{"daemon: log limit without digits", "docker: {daemon: {log-opts: {max-size: ten}}}\n", "docker.daemon.log-opts.max-size: log-opts max-size ten: want a size"},
		{"daemon: no log file", "docker: {daemon: {log-opts: {max-size: 10m, max-file: \"0\"}}}\n", "docker.daemon.log-opts.max-file: log-opts max-file 0: want a number of files"},
		{"daemon: nothing", "docker: {daemon: {}}\n", "docker.daemon: no key is given, want at least a limit"},
		{"duplicate key in daemon", "docker:\n  daemon: {a: 1, a: 2}\n", "docker.daemon.a: the key is given twice"},
		{"merge key", "guest:\n  <<: {memory: 1}\n", "want a plain key"},
		{"alias of itself", "docker: {daemon: {a: &a [*a]}}\n", "exceeds the limit of 100 levels"},
		{"text for number", "guest: {memory: lots}\n", `guest.memory: want a whole number, got "lots"`},
		{"number for text", "name: 12\n", "name: want text, got 12: write it in quotes"},
		{"mode without quotes", "files: [{path: /etc/a, content: b, mode: 0644}]\n", "files[0].mode: want text, got 0644: write it in quotes"},
		{"yes for bool", "guest: {onboot: yes}\n", `guest.onboot: want true or false, got "yes"`},
		{"list for text", "suite: [trixie]\n", "suite: want text, got a list"},
		{"text for list", "packages: {include: vim}\n", `packages.include: want a list, got "vim"`},
		{"empty item", "packages:\n  include:\n    -\n", "packages.include[0]: the item is empty"},
		{"version", "version: 2\n", "x:1:10: error: version: want 1, got 2"},
		{"name", "name: A b\n", `name: want lower-case letters`},
		{"suite", "suite: sid\n", `suite: want bookworm or trixie, got "sid"`},
		{"arch", "arch: i386\n", "arch: want amd64 or arm64"},
		{"mirror scheme", "apt: {mirror: 'ftp://mirror.example/debian'}\n", "apt.mirror: want http, https or file"},
		{"mirror without host", "apt: {mirror: 'http:///debian'}\n", "apt.mirror: the host is missing"},
		{"mirror with password", "apt: {mirror: 'http://u:p@mirror.example/debian'}\n", "apt.mirror: it has a user or password"},
		{"mirror not a URI", "apt: {mirror: 'http://[/debian'}\n", "apt.mirror: not a URI"},
		{"components", "apt: {components: []}\n", "apt.components: want at least"},
		{"component", "apt: {components: ['a b']}\n", "apt.components[0]: want a component"},
		{"snapshot form", "apt: {mirror: 'http://mirror.example/{snapshot}', snapshot: yesterday}\n", "apt.snapshot: want a time such as"},
		{"snapshot zone", "apt: {mirror: 'http://mirror.example/{snapshot}', snapshot: '2026-11-01T00:00:00+02:00'}\n", "apt.snapshot: want a time in UTC"},
		{"snapshot without template", "apt: {mirror: 'http://mirror.example/d', snapshot: 2026-11-01T00:00:00Z}\n", "apt.snapshot: want {snapshot} in apt.mirror"},
		{"template without snapshot", "apt: {mirror: 'http://mirror.example/{snapshot}'}\n", "apt.mirror: it has {snapshot}"},
		{"source without all", "apt: {sources: [{name: a}]}\n", "apt.sources[0].key: missing"},
		{"source uri", "apt: {sources: [{name: a}]}\n", "apt.sources[0].uri: missing"},
		{"source suites", "apt: {sources: [{name: a}]}\n", "apt.sources[0].suites: missing"},
		{"source components", "apt: {sources: [{name: a}]}\n", "apt.sources[0].components: missing"},
		{"source suite", "apt: {sources: [{name: a, suites: ['-']}]}\n", "apt.sources[0].suites[0]: want the name of a suite"},
		{"source twice", "apt: {guest: [{name: a}, {name: a}]}\n", "apt.guest[1].name: \"a\" is the name of apt.guest[0] too"},
		{"package name", "packages: {include: ['Vim']}\n", "packages.include[0]: want a package name"},
		{"package in and out", "packages: {include: [vim], exclude: [vim]}\n", `"vim" is in packages.exclude too`},
		{"excluded name", "packages: {exclude: ['a b']}\n", "packages.exclude[0]: want a package name"},
		{"relative path", "files: [{path: etc/a, content: b}]\n", "files[0].path: want an absolute path"},
		{"path missing", "files: [{content: b}]\n", "files[0].path: missing"},
		{"path up", "files: [{path: /etc/../a, content: b}]\n", "files[0].path: want a clean path"},
		{"path with control", "files: [{path: \"/etc/\\u0001\", content: b}]\n", "files[0].path: \"/etc/\\x01\" has a control character"},
		{"reserved path", "files: [{path: /run/a, content: b}]\n", "files[0].path: /run is empty in every image"},
		{"table of contents", "files: [{path: /etc/felhom/contents.json, content: b}]\n", `files[0].path: "/etc/felhom/contents.json" is the archive's table of contents, which pack writes itself`},
		{"below the table of contents", "files: [{path: /etc/felhom/contents.json/a, content: b}]\n", `files[0].path: "/etc/felhom/contents.json/a" is the archive's table`},
		{"path twice", "files: [{path: /a, content: b}, {path: /a, content: b}]\n", `files[1].path: "/a" is the path of files[0] too`},
		{"two kinds", "files: [{path: /a, content: b, link: c}]\n", "files[0]: want one of source, content, link and directory, got content and link"},
		{"no kind", "files: [{path: /a}]\n", "files[0]: want one of source, content, link and directory, got none"},
		{"mode", "files: [{path: /a, content: b, mode: '0888'}]\n", "files[0].mode: want octal digits"},
		{"mode of link", "files: [{path: /a, link: b, mode: '0777'}]\n", "files[0].mode: the mode of a link cannot be set"},
		{"uid", "files: [{path: /a, content: b, uid: 65536}]\n", "files[0].uid: want 0 to 65535"},
		{"gid", "files: [{path: /a, content: b, gid: -1}]\n", "files[0].gid: want 0 to 65535"},
		{"script path", "scripts: [{args: [a]}]\n", "scripts[0].path: missing"},
		{"script env", "scripts: [{path: a, env: {'a b': c}}]\n", "scripts[0].env.a b: not the name"},
		{"unit name", "units: {enable: [ssh]}\n", "units.enable[0]: want the name of a unit"},
		{"unit twice", "units: {enable: [ssh.service], mask: [ssh.service]}\n", `units.mask[0]: "ssh.service" is in units.enable too`},
		{"image", "controller: {image: 'Bad:ref:x'}\n", "controller.image: not an image reference"},
		{"image without tag", "controller: {image: registry.example/a}\n", "controller.image: want a tag or a digest"},
		{"archive without image", "controller: {archive: a.tar}\n", "controller.archive: controller.image is missing"},
		{"preload without image", "preload: [{archive: a.tar}]\n", "preload[0].image: missing"},
		{"preload twice", "preload: [{image: 'a:1'}, {image: 'a:1'}]\n", `preload[1].image: "a:1" is preload[0] too`},
		{"vmid", "guest: {vmid: 99}\n", "guest.vmid: want 100 to 999999999, got 99"},
		{"cores", "guest: {cores: -1}\n", "guest.cores: want 0 to 8192"},
		{"memory", "guest: {memory: 1}\n", "guest.memory: want 16 to"},
		{"swap", "guest: {swap: -1}\n", "guest.swap: want 0 to"},
		{"hostname", "guest: {hostname: a_b}\n", "guest.hostname: want lower-case letters"},
		{"rootfs", "guest: {rootfs: 8}\n", "guest.rootfs: want text"},
		{"rootfs size", "guest: {rootfs: big}\n", "guest.rootfs: want a size such as 8G"},
		{"storage", "guest: {storage: '9'}\n", "guest.storage: want the name of a PVE storage"},
		{"fixed mac", "guest: {net0: 'name=eth0,hwaddr=AA:BB:CC:00:11:22'}\n", "guest.net0: want no hwaddr"},
		{"tag", "guest: {tags: ['A']}\n", "guest.tags[0]: want a tag"},
		{"features in two lines", "guest: {features: \"a\\nb\"}\n", "guest.features: want one line"},
		{"net0 grammar", "guest: {net0: 'name=eth0,bridge=vmbr0,ip=nonsense'}\n", "guest.net0: "},
		{"features grammar", "guest: {features: 'nestin=1'}\n", "guest.features: "},
		{"allow", "allow: {set_id: [usr/bin/su]}\n", "allow.set_id[0]: want an absolute path"},
		{"allow secrets", "allow: {secrets: [root/key]}\n", "allow.secrets[0]: want an absolute path"},
		{"allow dangling", "allow: {dangling: [root/link]}\n", "allow.dangling[0]: want an absolute path"},
		{"allow programs", "allow: {programs: [usr/bin/x]}\n", "allow.programs[0]: want an absolute path"},
		{"compression", "output: {compression: best}\n", "output.compression: want fast or release"},
		{"profile", "output: {profile: tiny}\n", "output.profile: want full or pruned"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x", []byte(tt.in))
			if err == nil {
				t.Fatalf("accepted %q", tt.in)
			}
			if fault.Of(err) != fault.Invalid {
				t.Errorf("class %v, want refused", fault.Of(err))
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error:\n%v\nwant it to contain: %s", err, tt.want)
			}
		})
	}
}

// What bounds the logs otherwise, or may do so later, is taken.
func TestLogLimitsThatAreTaken(t *testing.T) {
	for _, in := range []string{
		"docker: {daemon: {log-driver: journald}}\n",
		"docker: {daemon: {log-driver: gelf, log-opts: {gelf-address: 'udp://192.0.2.1:12201'}}}\n",
		"docker: {daemon: {log-driver: local}}\n",
		"docker: {daemon: {log-opts: {max-size: 1.5mb}}}\n",
		"docker: {daemon: {mtu: 1400}}\nfiles: [{path: /etc/docker/daemon.json, source: own.json}]\n",
		"docker: {daemon: {}}\nfiles: [{path: /etc/docker, source: own}]\n",
		"docker: {daemon: {}}\nscripts: [{path: own.sh}]\n",
		"docker:\n  daemon:\n",
	} {
		if _, err := Parse("x", []byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestParseFindsAllInOrder(t *testing.T) {
	in := "version: 1\nsuite: sid\nguest:\n  vmid: 7\n  memroy: 1\noutput: {profile: x}\n"
	_, err := Parse("golden.yaml", []byte(in))
	list, ok := errors.AsType[*strictyaml.Findings](err)
	if !ok {
		t.Fatalf("want findings, got %v", err)
	}
	got := []string{}
	for _, f := range list.List {
		got = append(got, fmt.Sprintf("%s:%d:%d %s", list.File, f.Line, f.Column, f.Path))
	}
	want := []string{"golden.yaml:2:8 suite", "golden.yaml:4:9 guest.vmid", "golden.yaml:5:3 guest.memroy", "golden.yaml:6:19 output.profile"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestVMID: recipes with names of their own have VMIDs of their own, which are
// in the names of their archives.
func TestVMID(t *testing.T) {
	seen := map[int]string{}
	for in, want := range map[string]int{
		"version: 1\n": 9100, "name: felhom-golden\n": 9100, "name: web\n": 0, "name: db\n": 0, "name: web2\nguest: {vmid: }\n": 0,
		"name: cache\nguest: {vmid: 101}\n": 101,
	} {
		r, err := Parse("x", []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("y", []byte(in))
		if err != nil || again.Guest.VMID != r.Guest.VMID {
			t.Errorf("%q: %d and then %d, %v", in, r.Guest.VMID, again.Guest.VMID, err)
		}
		if want != 0 && r.Guest.VMID != want {
			t.Errorf("%q: VMID %d, want %d", in, r.Guest.VMID, want)
		}
		if other, twice := seen[r.Guest.VMID]; twice && want != 9100 {
			t.Errorf("%q and %q have the VMID %d", in, other, r.Guest.VMID)
		}
		seen[r.Guest.VMID] = in
		if _, err := vzdump.ParseName(vzdump.Name{VMID: r.Guest.VMID, Time: time.Unix(0, 0).UTC(), Ext: "zst"}.String()); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestConfig(t *testing.T) {
	r, err := Parse("x", []byte("guest: {tags: [b, a], cores: 0, description: 'one: two'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Config()
	if err != nil {
		t.Fatal(err)
	}
	want := "#one%3A two\narch: amd64\nfeatures: keyctl=1,nesting=1\nhostname: golden\nmemory: 2048\nnet0: name=eth0,bridge=vmbr0,ip=dhcp,type=veth\nonboot: 1\nostype: debian\nrootfs: local-lvm:vm-9100-disk-0,size=8G\nswap: 512\ntags: a;b\nunprivileged: 1\n"
	if diff := cmp.Diff(want, string(c.Format())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "golden.yaml")
	if _, err := Read(path); fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" {
		t.Errorf("missing file: want it refused with a hint, got %v", err)
	}
	if err := os.WriteFile(path, []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Local("a/b"), filepath.Join(dir, "a/b"); got != want {
		t.Errorf("Local: want %s, got %s", want, got)
	}
	if got := r.Local("/x"); got != "/x" {
		t.Errorf("Local of an absolute path: got %s", got)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("#", MaxBytes+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); fault.Of(err) != fault.Invalid {
		t.Errorf("large file: want refused, got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(DefaultYAML()))
	f.Add("a: &a [*a]\n")
	f.Add("docker: {daemon: {a: &a [*a]}}\n")
	f.Fuzz(func(t *testing.T, in string) {
		if _, err := Parse("x", []byte(in)); err != nil && fault.Of(err) != fault.Invalid {
			t.Errorf("class %v: %v", fault.Of(err), err)
		}
	})
}

// TestDocsExamples keeps the examples of the image makers' page true.
func TestDocsExamples(t *testing.T) {
	data, err := os.ReadFile("../../../docs/golden.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(data), "```yaml\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("no example in docs/golden.md")
	}
	for i, b := range blocks {
		text, _, _ := strings.Cut(b, "```")
		if _, err := Parse("docs/golden.md", []byte(text)); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
}

// What the guest would refuse of the container is refused here, by the same code.
func TestContainerIsChecked(t *testing.T) {
	_, err := Parse("golden.yaml", []byte("version: 1\ncontroller:\n  container:\n    ports: 9001:9001\n    volums: [x]\n    env: 7\n    memory: 1m\n    environment: {A: [hunter2]}\n"))
	if err == nil {
		t.Fatal("a container that no guest could make is taken")
	}
	for _, want := range []string{
		"golden.yaml:4:12: error: controller.container.ports: want a list", `golden.yaml:5:5: error: controller.container.volums: unknown key; did you mean "volumes"?`,
		`golden.yaml:6:5: error: controller.container.env: unknown key; did you mean "environment"?`, "golden.yaml:7:13: error: controller.container.memory: ",
		"golden.yaml:8:22: error: controller.container.environment.A: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	r, err := Parse("golden.yaml", []byte("version: 1\ncontroller: {container: {environment: {DAY: 2026-01-31, HEX: 0x10, ON: yes}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if env := r.Controller.Settings.Environment; env["DAY"] != "2026-01-31" || env["HEX"] != "0x10" || env["ON"] != "yes" {
		t.Errorf("values changed: %v", env)
	}
}
