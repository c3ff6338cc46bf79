package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// FuzzParseGuests: a specification gives guests that can be named and told apart, or
// findings with their places and no guests.
func FuzzParseGuests(f *testing.F) {
	for _, s := range []string{
		"version: 1\nguests:\n  - {vmid: 8200, golden: /a.tar.zst, hostname: web, ip: 192.0.2.10/24, gateway: 192.0.2.1, memory: 512, swap: 0, onboot: true}\n  - vmid: 8201\n    container: {image: a, ports: [80:80], volumes: [data:/data]}\n    repositories: [registry.example/team/*]\n",
		"version: 1\nguests: [{vmid: 8200}, {vmid: 8200}]\n", "version: 2\nguests: []\n", "version: 1\nguests: [{vmid: 0}]\n", "version: 1\nguests: [{vmid: 8200, ip6: fe80::1/64, gateway6: x, vlan: 4095}]\n", "guests: &a [*a]\n", "", "\x00", "version: 1\nguests: [{vmid: 8200, ready_wait: 1h, profile: x, env_file: ../e}]\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := config.ParseGuests("f", data)
		if err != nil {
			refused, ok := errors.AsType[*strictyaml.Findings](err)
			if !ok || len(refused.List) == 0 || list != nil {
				t.Fatalf("%d guests and the error %v", len(list), err)
			}
			for _, got := range refused.List {
				if got.Line < 1 || got.Line > strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+2 || got.Column < 1 || got.Message == "" {
					t.Errorf("%q: finding %+v", data, got)
				}
			}
			return
		}
		seen := map[int]bool{}
		for _, g := range list {
			if g.VMID < 1 || g.VMID > token.MaxVMID || seen[g.VMID] || g.Check() != nil || !strings.HasPrefix(g.Place, "f:") {
				t.Errorf("%q has the guest %+v", data, g)
			}
			seen[g.VMID] = true
		}
	})
}

// FuzzRepository: a repository that is taken is written so that it is read as the same.
func FuzzRepository(f *testing.F) {
	for _, s := range []string{"registry.example/team/app", "registry.example/team/*", "*", "registry.example:5000/*", "/a", "a/..", "A.example/b", "docker.io/library/x", "a/b:1", "a/b@sha256:c", "[::1]:5000/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := config.ParseRepository(text)
		if err != nil {
			if r != (config.Repository{}) {
				t.Errorf("%q gives %+v and the error %v", text, r, err)
			}
			return
		}
		if again, err := config.ParseRepository(r.String()); err != nil || again != r {
			t.Errorf("%q is %+v; written and read, it is %+v, %v", text, r, again, err)
		}
	})
}
