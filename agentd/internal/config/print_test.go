package config_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/docs"
)

// What Print writes is read as the same configuration, and has every key.
func TestPrintIsRead(t *testing.T) {
	example := docs.ExampleConfig()
	for name, text := range map[string]string{
		"example": example,
		"minimal": minimal,
		"odd": "controller_image: registry.example/a:1\nlisten: ['[2001:db8::7]:8443']\nprovision: {swap: 0, onboot: false, start: false, wait: 0s}\nlimits: {token_overlap: 0s}\n" +
			"container: {environment: {A: \"a: 'b' \\\"c\\\" <&> # \u00e9\\n\"}, command: ['{', '- x']}\nid_map_base: 0\n",
		"mirror": "controller_image: registry.example/a:1\nregistry_mirror: mirror.example:5000\nhypervisor: lxc\nid_map: per-guest\n",
	} {
		want, err := config.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		printed, err := want.Print()
		if err != nil {
			t.Fatal(err)
		}
		got, err := config.Parse("printed", printed)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, printed)
		}
		if d := cmp.Diff(want, got, compareAddrPort); d != "" {
			t.Errorf("%s (-want +printed):\n%s\n%s", name, d, printed)
		}
		if name != "example" {
			continue
		}
		for key := range strings.SplitSeq(topKeys, ", ") {
			isSet := regexp.MustCompile("(?m)^" + key + ":")
			if !regexp.MustCompile("(?m)^(# )?" + key + ":").MatchString(example) {
				t.Errorf("%s: is not in the example", key)
			}
			if isSet.MatchString(example) && !isSet.Match(printed) {
				t.Errorf("%s: is not printed", key)
			}
		}
	}
}

func TestPrintHidesSecrets(t *testing.T) {
	c, err := config.Parse("f", []byte(minimal+"container: {environment: {DB_PASSWORD: hunter2hunter2, MODE: edge}, command: ['--token=hunter2hunter2']}\n"))
	if err != nil {
		t.Fatal(err)
	}
	printed, err := c.Print()
	if err != nil || strings.Contains(string(printed), "hunter2") || !strings.Contains(string(printed), `"MODE":"edge"`) || !strings.Contains(string(printed), config.Hidden) {
		t.Errorf("%s, %v", printed, err)
	}
}
