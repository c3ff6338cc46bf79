package containerspec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
)

func ExampleParse() {
	c, problems := containerspec.Parse("c.yaml", []byte("ports: [\"9001:9001\"]\nvolums: [data:/data]\n"))
	fmt.Println(c.Ports)
	fmt.Println(problems)
	// Output:
	// [9001:9001]
	// c.yaml:2:1: error: volums: unknown key; did you mean "volumes"?
}

func ExampleMerge() {
	golden := &contract.Container{Ports: []string{"80:80"}, Environment: map[string]string{"TZ": "UTC", "MODE": "edge"}}
	guest := &contract.Container{Environment: map[string]string{"TZ": "Europe/Budapest"}}
	merged := containerspec.Merge(golden, guest)
	fmt.Println(merged.Ports, containerspec.Pairs(merged.Environment))
	// Output: [80:80] [MODE=edge TZ=Europe/Budapest]
}

func TestParse(t *testing.T) {
	got, problems := containerspec.Parse("c.yaml", []byte(`
ports: ["127.0.0.1:8080:80/tcp", 9000-9002:9000-9002, 53:53/udp, 7000]
volumes: [/srv/data:/data:ro, data:/var/lib/data, /cache]
environment: {TZ: Europe/Budapest, N: 7, ON: yes, EMPTY: ""}
extra_hosts: ["hub.example:192.0.2.7", "v6:[2001:db8::1]", "v6b:2001:db8::1", "gw:host-gateway"]
memory: 512m
labels: [com.example.a=1, com.example.b=]
command: [sh, -c, "a\nb", ""]
network: backend
`))
	want := contract.Container{
		Ports:       []string{"127.0.0.1:8080:80/tcp", "9000-9002:9000-9002", "53:53/udp", "7000"},
		Volumes:     []string{"/srv/data:/data:ro", "data:/var/lib/data", "/cache"},
		Environment: map[string]string{"TZ": "Europe/Budapest", "N": "7", "ON": "yes", "EMPTY": ""},
		ExtraHosts:  []string{"hub.example:192.0.2.7", "v6:[2001:db8::1]", "v6b:2001:db8::1", "gw:host-gateway"},
		Memory:      "512m",
		Labels:      map[string]string{"com.example.a": "1", "com.example.b": ""},
		Command:     []string{"sh", "-c", "a\nb", ""},
		Network:     "backend",
	}
	if problems != nil {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want.Ports, want.Environment["DAY"], want.Environment["HEX"] = []string{}, "2026-01-31", "0x10"
	data, err := containerspec.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := containerspec.Parse("c.yaml", data); err != nil || !cmp.Equal(want, again) {
		t.Errorf("read back, error %v (-want +got)\n%s\n%s", err, cmp.Diff(want, again), data)
	}
	for _, empty := range []string{"", "\n", "# nothing\n", "null\n", "{}\n"} {
		if c, problems := containerspec.Parse("c.yaml", []byte(empty)); problems != nil || !containerspec.IsZero(&c) {
			t.Errorf("%q: %v, %v", empty, c, problems)
		}
	}
}

// Each mistake is named with its place; all of one text at once.
func TestFindings(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string // begin of each finding
	}{
		{"ports: 9001:9001\nvolums: [x]\nenv: 7\n", []string{
			"1:8: error: ports: want a list, such as", `2:1: error: volums: unknown key; did you mean "volumes"?`, `3:1: error: env: unknown key; did you mean "environment"?`,
		}},
		{"environment: 7\n", []string{"1:14: error: environment: want NAME: VALUE lines"}},
		{"environment: {A: [x]}\n", []string{"1:18: error: environment.A: want text, got a list"}},
		{"environment: {A: }\n", []string{"1:18: error: environment.A: the value is missing"}},
		{"environment: [A]\n", []string{"1:15: error: environment[0]: want NAME=VALUE"}},
		{"environment: [A=1, A=2]\n", []string{"1:20: error: environment[1]: the name is given twice"}},
		{"environment: {\"A=B\": x}\n", []string{"1:14: error: environment: the name of a variable"}},
		{"environment: {A: \"\\0\"}\n", []string{"1:18: error: environment.A: the value of this variable has a NUL byte"}},
		{"- x\n", []string{"1:1: error: want keys with values, such as ports"}},
		{"ports: [\n", []string{"1:1: error: not YAML: "}},
		{"ports: []\n---\nports: []\n", []string{"2:1: error: a second document follows"}},
		{"ports: [99999:80]\n", []string{"1:9: error: ports[0]: \"99999:80\" is not a published port"}},
		{"ports: [80:80, \"0.0.0.0:x\", 81:80/xyz]\n", []string{"1:16: error: ports[1]", "1:29: error: ports[2]"}},
		{"ports: [80:80, 80:81]\n", []string{"1:16: error: ports[1]: port 80/tcp is published by ports[0] already"}},
		{"ports: [1000-9000:1000-9000]\n", []string{"1:8: error: ports: 8001 ports exceed the limit"}},
		{"ports: [\"80:0\"]\n", []string{"1:9: error: ports[0]: \"80:0\" is not"}},
		{"ports: [[80], 81:x]\n", []string{"1:9: error: ports[0]: want text, got a list", "1:15: error: ports[1]: "}},
		{"ports: &p [\"1:1\"]\nvolumes: *p\n", []string{"1:8: error: ports: anchors", "2:10: error: volumes: anchors"}},
		{"volumes: [./data:/data]\n", []string{"1:11: error: volumes[0]: \"./data\" is neither an absolute path nor"}},
		{"volumes: [/a:b]\n", []string{"1:11: error: volumes[0]: \"/a:b\" is not a volume"}},
		{"volumes: [/a:/]\n", []string{"1:11: error: volumes[0]: \"/a:/\" is not a volume"}},
		{"volumes: [/a:/b:xx]\n", []string{"1:11: error: volumes[0]"}},
		{"volumes: [/a:/x, b:/x/]\n", []string{"1:18: error: volumes[1]: /x is mounted by volumes[0] already"}},
		{"extra_hosts: [hub, \"hub:x y\"]\n", []string{"1:15: error: extra_hosts[0]", "1:20: error: extra_hosts[1]"}},
		{"memory: 1m\n", []string{"1:9: error: memory: \"1m\" is below the minimum"}},
		{"memory: lots\n", []string{"1:9: error: memory: \"lots\" is not a size"}},
		{"memory: \"\"\n", []string{"1:9: error: memory: the text is empty"}},
		{"memory: -1g\n", []string{"1:9: error: memory"}},
		{"labels: {org.felhom.bootstrap: x}\n", []string{"1:32: error: labels.org.felhom.bootstrap: labels that begin with org.felhom."}},
		{"command: serve --x\n", []string{"1:10: error: command: want a list, such as [\"serve\", \"--verbose\"]"}},
		{"network: \"a b\"\n", []string{"1:10: error: network"}},
		{"ports: []\nports: []\n", []string{"2:1: error: ports: the key is given twice"}},
		{"privileged: true\n", []string{"1:1: error: privileged: unknown key; want one of command, environment, extra_hosts, labels, memory, network, ports, volumes"}},
	} {
		_, err := containerspec.Parse("c.yaml", []byte(tt.text))
		if err == nil {
			t.Errorf("%q is taken", tt.text)
			continue
		}
		got := strings.Split(err.Error(), "\n")
		if len(got) != len(tt.want) {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
			continue
		}
		for i, w := range tt.want {
			if !strings.HasPrefix(got[i], "c.yaml:"+w) {
				t.Errorf("%q: got %q, want it to begin with %q", tt.text, got[i], w)
			}
		}
	}
}

// No problem repeats the value of a variable, a label or an argument.
func TestProblemsHoldNoValue(t *testing.T) {
	for _, text := range []string{
		"environment: {A: [hunter2]}", "environment: [hunter2]", "labels: hunter2", "command: hunter2",
		"environment: hunter2", "environment: {\"hunter2=\": x}", "environment: {A: \"hunter2\\0\"}", "labels: {org.felhom.x: hunter2}",
		"environment: {A: hunter2", "environment: {A: *hunter2}", "memory: [hunter2]",
	} {
		_, problems := containerspec.Parse("c.yaml", []byte(text))
		if problems == nil || strings.Contains(fmt.Sprint(problems), "hunter2") {
			t.Errorf("%q: %v", text, problems)
		}
	}
}

// Layers do not share what they are made of.
func TestMerge(t *testing.T) {
	defaults := containerspec.Defaults(contract.ProfileFelhom)
	golden := contract.Container{Ports: []string{"1:1"}, Memory: "64m", Labels: map[string]string{"a": "golden", "b": "golden"}, Command: []string{"x"}}
	flags := contract.Container{Ports: []string{}, Labels: map[string]string{"b": "flag"}, Network: "host", Command: []string{}}
	got := containerspec.Merge(&defaults, &golden, nil, &flags)
	want := contract.Container{
		Ports: []string{}, Volumes: defaults.Volumes, Memory: "64m", Labels: map[string]string{"a": "golden", "b": "flag"},
		Network: "host", Command: []string{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got.Labels["a"], got.Volumes[0] = "changed", "changed"
	if golden.Labels["a"] != "golden" || defaults.Volumes[0] == "changed" {
		t.Error("the merged value shares a list or a map with a layer")
	}
	if c := containerspec.Merge(); !containerspec.IsZero(&c) {
		t.Errorf("nothing merged is %v", c)
	}
	if plain := containerspec.Defaults(contract.ProfilePlain); !containerspec.IsZero(&plain) {
		t.Errorf("the profile plain brings %v", plain)
	}
}

// What the defaults say, Check takes.
func TestDefaultsAreRight(t *testing.T) {
	for _, p := range contract.Profiles() {
		if problems := containerspec.Check(containerspec.Defaults(p)); problems != nil {
			t.Errorf("%s: %v", p, problems)
		}
	}
}

func TestEnvFile(t *testing.T) {
	env, problems := containerspec.ParseEnvFile([]byte("\ufeff# a comment\n\n A=1\nB=x=y \r\nC=\nA=2\n"))
	if problems != nil {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(map[string]string{"A": "2", "B": "x=y ", "C": ""}, env); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	_, problems = containerspec.ParseEnvFile([]byte("A\nB C=hunter2\n=hunter2\nD=\x00\nE=\xff\n"))
	if len(problems) != 5 || strings.Contains(fmt.Sprint(problems), "hunter2") {
		t.Errorf("got %v", problems)
	}
	for i, p := range problems {
		if p.Line != i+1 {
			t.Errorf("problem %d is in line %d", i, p.Line)
		}
	}
}

func TestSecretLooking(t *testing.T) {
	c := contract.Container{
		Environment: map[string]string{
			"DB_PASSWORD": "x", "ADMIN_PASSWORD_FILE": "/run/secrets/a", "API_KEY": "abc", "TOKEN_TTL": "3600", "TZ": "UTC", "POSTGRES_PASSWORD": "",
			"DATABASE": "postgres://u:pw@db/x", "KEY": "-----BEGIN PRIVATE KEY-----", "X": "fgt_8200_abc", "USE_TOKEN": "true", "AGENT_SECRET": "s",
			"KEYBOARD": "hu", "SECRET": "/run/secrets/s", "PGPASSWORD": "x",
		},
		Labels:  map[string]string{"traefik.token": "x", "title": "Compass"},
		Command: []string{"--password=x", "--token", "abc", "--token-file=/x", "--verbose", "--secret", "--other"},
	}
	want := []string{
		"environment.AGENT_SECRET", "environment.API_KEY", "environment.DATABASE", "environment.DB_PASSWORD", "environment.KEY", "environment.PGPASSWORD", "environment.X",
		"labels.traefik.token", "command[0]", "command[1]",
	}
	if diff := cmp.Diff(want, containerspec.SecretLooking(c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestVolume(t *testing.T) {
	for text, want := range map[string]containerspec.Volume{
		"/srv/data:/data:ro": {Source: "/srv/data", Target: "/data", Mode: "ro", IsBind: true},
		"data:/data":         {Source: "data", Target: "/data"},
		"/cache":             {Target: "/cache"},
	} {
		got, err := containerspec.ParseVolume(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v (%s), %v", text, got, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"ports: [80:80]", "environment: {A: b}", "labels: [a=b]", "volumes: [/a:/b:ro]", "&a [*a]", "? [x]\n: y", "<<: {ports: []}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := containerspec.Parse("c.yaml", data)
		if problems == nil {
			if again := containerspec.Check(c); again != nil {
				t.Errorf("%q: %v", data, again)
			}
		}
	})
}
