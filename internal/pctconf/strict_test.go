package pctconf_test

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// What PVE, LXC and this parser would read in different ways is an error,
// and never a value of its own.
func TestAmbiguousLines(t *testing.T) {
	lines := []string{
		"memory: 0512", "memory: +512", "memory: 512\r", "cores: 02", "cpulimit: 01.5", "net0: name=eth0,tag=007", "memory: 512 #x", "Memory: 512", " memory: 512",
		"memory : 512", "memory: 512\nmemory: 1024", "lxc.idmap : u 0 100000 65536", "#a%00b", "#" + strings.Repeat("x", 70_000), "memory: 512" + strings.Repeat(" ", 70_000),
	}
	for _, blank := range []string{"\u00a0", "\v", "\f", "\u0085", "\u2003", "\u2028", "\u3000", "\u200b", "\ufeff", "\u202e", "\x00", "\x1b", "\x7f", "\xa0", "\r"} {
		lines = append(lines, "memory: 512"+blank, "memory:"+blank+"512", blank+"memory: 512", "tags: a"+blank+"b", "lxc.idmap: u 0 100000 65536"+blank)
	}
	for _, text := range lines {
		_, findings := pctconf.Parse([]byte(text + "\n"))
		if len(findings) == 0 || findings[0].Severity != pctconf.Error {
			t.Errorf("%.40q: findings %v, want an error", text, findings)
		}
	}
	for _, text := range []string{"memory: 512 \t", "#Kölner Golden", "memory:512", "#a%C3%A4%0Ab"} {
		if _, findings := pctconf.Parse([]byte(text)); len(findings) > 0 {
			t.Errorf("%q: %v", text, findings)
		}
	}
	if _, err := pctconf.Canonical("memory", "512\u00a0"); err == nil {
		t.Error("Canonical takes a blank that is not a space")
	}
}

func TestCheckIDRanges(t *testing.T) {
	const whole = "lxc.idmap: g 0 100000 65536\n"
	for text, ok := range map[string]bool{
		"":                                     true,
		whole + "lxc.idmap: u 0 65536 65536\n": true,
		whole + "lxc.idmap: u 0 100000 1000\nlxc.idmap: u 1000 300000 64536\n":                           true,
		whole + "lxc.idmap: u 0 0 65536\n":                                                               false,
		whole + "lxc.idmap: u 0 0 1\nlxc.idmap: u 1 100001 65535\n":                                      false,
		whole + "lxc.idmap: u 0 100000 1000\nlxc.idmap: u 1000 1000 1\nlxc.idmap: u 1001 101001 64535\n": false,
		whole + "lxc.idmap: u 0 65535 65536\n":                                                           false,
		whole:                                                                                            false,
		whole + "lxc.idmap: u 1 100001 65535\n":                                                          false,
		whole + "lxc.idmap: u 0 100000 65535\n":                                                          false,
		whole + "lxc.idmap: u 0 100000 65537\n":                                                          false,
		whole + "lxc.idmap: u 0 100000 65536\nlxc.idmap: u 0 200000 1\n":                                 false,
		whole + "lxc.idmap: u 0 100000 32768\nlxc.idmap: u 32768 100000 32768\n":                         false,
		whole + "lxc.idmap: u 0 2147483000 65536\n":                                                      false,
		whole + "lxc.idmap: u 0 100000 0\nlxc.idmap: u 0 100000 65536\n":                                 false,
	} {
		config, _ := pctconf.Parse([]byte(text))
		ranges, err := pctconf.IDRanges(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := pctconf.CheckIDRanges(ranges); (err == nil) != ok {
			t.Errorf("%q: %v, want accepted %v", text, err, ok)
		}
	}
}
