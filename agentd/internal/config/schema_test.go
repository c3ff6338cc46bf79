package config_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/strictyaml/schematest"
)

// format is a file that people write, with its schema and the code that reads it.
type format struct {
	schema  string
	example string
	parse   func(text string) error
	// in returns a file with text where the object of the schema's path is.
	in func(path, text string) string
}

func formats(t *testing.T) map[string]format {
	t.Helper()
	page, err := os.ReadFile("../../../docs/agentd.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	nest := func(path, text string) string {
		for _, key := range slices.Backward(strings.Split(path, ".")) {
			switch {
			case key == "":
			case strings.HasSuffix(key, "[]"):
				text = "{" + strings.TrimSuffix(key, "[]") + ": [" + text + "]}"
			default:
				text = "{" + key + ": " + text + "}"
			}
		}
		return text
	}
	return map[string]format{
		"agentd.yaml": {
			"../../../docs/agentd.schema.json", string(blocks[0][1]),
			func(text string) error { _, err := config.Parse("f", []byte(text)); return err }, nest,
		},
		"spec": {
			"../../../docs/spec.schema.json", string(blocks[1][1]),
			func(text string) error { _, err := config.ParseGuests("f", []byte(text)); return err }, nest,
		},
	}
}

// The schemas have the keys that the code reads, with the same required ones, and
// each key has a description.
func TestSchemasHaveEveryKey(t *testing.T) {
	for name, f := range formats(t) {
		data, err := os.ReadFile(f.schema)
		if err != nil {
			t.Fatal(err)
		}
		var schema map[string]any
		if err := json.Unmarshal(data, &schema); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { f.compare(t, "", schema) })
	}
}

var known = regexp.MustCompile(`frobnicate: unknown key; want one of ([a-z0-9_, ]+)`)

// compare asks the code for the keys of an object by one that it does not know.
func (f format) compare(t *testing.T, path string, schema map[string]any) {
	t.Helper()
	if items, isList := schema["items"].(map[string]any); isList {
		f.compare(t, path+"[]", items)
		return
	}
	props, isObject := schema["properties"].(map[string]any)
	if !isObject {
		return
	}
	if schema["additionalProperties"] != false {
		t.Errorf("%s: the schema lets unknown keys pass", path)
	}
	err := f.parse(f.in(path, "{frobnicate: 1}"))
	if err == nil {
		t.Fatalf("%s: an unknown key is read", path)
	}
	match := known.FindStringSubmatch(err.Error())
	if match == nil {
		t.Fatalf("%s: no list of keys in %v", path, err)
	}
	if d := cmp.Diff(strings.Split(match[1], ", "), slices.Sorted(maps.Keys(props))); d != "" {
		t.Errorf("%s: keys of the code and of the schema (-code +schema):\n%s", path, d)
	}
	required, _ := schema["required"].([]any)
	alternatives, _ := schema["anyOf"].([]any)
	for _, one := range alternatives { // the finding names the first of them
		keys, _ := one.(map[string]any)["required"].([]any)
		required = append(required, keys...)
	}
	for name, sub := range props {
		at := strings.TrimPrefix(path+"."+name, ".")
		isMissing := strings.Contains(err.Error(), "error: "+strings.ReplaceAll(at, "[]", "[0]")+": is missing")
		if isMissing && !slices.Contains(required, any(name)) {
			t.Errorf("%s: the code requires it, and the schema does not", at)
		}
		property, _ := sub.(map[string]any)
		if property["description"] == nil {
			t.Errorf("%s: has no description", at)
		}
		f.compare(t, at, property)
	}
}

// What the schemas accept and refuse, the code does too.
func TestSchemasAgreeWithTheCode(t *testing.T) {
	const image = "controller_image: registry.example/app:1\n"
	guest := func(text string) string { return "version: 1\nguests:\n  - vmid: 8200\n    " + text + "\n" }
	for name, texts := range map[string]struct{ good, bad []string }{
		"agentd.yaml": {
			good: []string{image, image + "listen: ['192.0.2.7:8443']\n", image + "container: {environment: {A: 1, B: true}, ports: [9001]}\n"},
			bad: []string{
				"bridge: vmbr0\n", image + "brige: vmbr0\n", image + "profile: simple\n", image + "origin: maybe\n", image + "state_dir: var\n", image + "hub_url: http://a\n",
				image + "limits: {reports_per_minute: 0}\n", image + "provision: {vlan: 5000}\n", image + "provision: {hostname: web}\n", image + "cache: {dir: /a}\n",
				image + "registries: [{username: a}]\n", image + "registry: {host: a.example, username: b}\n", image + "hypervisor: kvm\n", image + "controller_image_manifest_digest: sha256:12\n", image + "container: {volums: []}\n", "controller_image: app\n",
				image + "listen: 192.0.2.7:8443\n", image + "id_map_base: -1\n", image + "env_file: a\n",
			},
		},
		"spec": {
			good: []string{guest("ip: dhcp"), guest("repositories: []"), guest("container: {environment: [A=b]}")},
			bad: []string{
				"version: 1\n", "guests: [{vmid: 8200}]\n", "version: 2\nguests: [{vmid: 8200}]\n", "version: 1\nguests: []\n", "version: 1\nguests: [{hostname: web}]\n",
				"version: 1\nguests: [{vmid: 99}]\n", guest("memory: lots"), guest("start: perhaps"), guest("golden: a.tar"), guest("repositories: [postgres]"), guest("wait: 5m"), guest("profile: x"),
			},
		},
	} {
		f := formats(t)[name]
		schema := schematest.Compile(t, f.schema)
		for _, text := range append(texts.good, f.example) {
			if err := schema.Validate(schematest.Instance(t, text)); err != nil {
				t.Errorf("%s: the schema refuses %q: %v", name, text, err)
			}
			if err := f.parse(text); err != nil {
				t.Errorf("%s: the code refuses %q: %v", name, text, err)
			}
		}
		for _, text := range texts.bad {
			if schema.Validate(schematest.Instance(t, text)) == nil {
				t.Errorf("%s: the schema accepts %q", name, text)
			}
			if f.parse(text) == nil {
				t.Errorf("%s: the code accepts %q", name, text)
			}
		}
	}
}
