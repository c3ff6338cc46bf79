package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/config"
)

func TestRegistryFindings(t *testing.T) {
	const one = "registry: {host: h, username: u, token_file: /t}\n"
	cases := []struct{ name, input, want string }{
		{"access of no credential", "registry_access: credential\n", `4:18: error: registry_access: credential needs registry with username and token_file`},
		{"another word", "registry_access: direct\n", `4:18: error: registry_access: want proxy or credential or none, got "direct"`},
		{"two sources", "registries: [{host: h, username: u, token_file: /t, credential: c}]\n", `4:14: error: registries[0]: has both token_file and credential; want one of them`},
		{"no secret", "registries: [{host: h, username: u}]\n", `4:14: error: registries[0].token_file: is missing`},
		{"no user", "registries: [{host: h, credential: c}]\n", `4:14: error: registries[0].username: is missing`},
		{"twice", one + "registries: [{host: h}]\n", `5:14: error: registries[0]: h is given twice`},
		{"credential as a path", "registries: [{host: h, username: u, credential: ../c}]\n", `4:49: error: registries[0].credential: want the name of a credential of the unit (LoadCredential=), got "../c"`},
		{"host as a URL", "registries: [{host: h, blob_hosts: [\"https://x\"]}]\n", `4:37: error: registries[0].blob_hosts[0]: want host or host:port, got "https://x"`},
		{"others with a credential in mounts", one + "registry_access: credential\nregistries: [{host: i}]\n", `6:13: error: registries: guests can have the credential of one registry; use registry_access: proxy`},
		{"a mirror of the proxy", one + "registry_access: proxy\nregistry_mirror: m\n", `6:18: error: registry_mirror: with registry_access: proxy guests pull through this host; leave it out`},
		{"small cache", "registry_access: proxy\ncache: {dir: /c, size: 1MiB}\n", `5:24: error: cache.size: want a size like 20GiB, at least 64MiB, got "1MiB"`},
		{"odd size", "registry_access: proxy\ncache: {dir: /c, size: much}\n", `5:24: error: cache.size: want a size like 20GiB, at least 64MiB, got "much"`},
		{"a cache of nothing", "cache: {dir: /c, size: 1GiB}\n", `4:8: error: cache: only registry_access: proxy uses it`},
		{"repositories of nothing", "repositories: [h.example/a]\n", `4:15: error: repositories: only registry_access: proxy uses it`},
		{"a short name", "registry_access: proxy\nrepositories: [nginx]\n", `5:16: error: repositories[0]: the registry is missing; write the full reference, as in registry.example/team/app:1.0, got "nginx"`},
		{"a pattern", "registry_access: proxy\nrepositories: [\"h.example/a/*\"]\n", `5:16: error: repositories[0]: the path is not valid: parts between slashes are lower-case letters and digits, joined by one dot, one or two underscores, or hyphens, got "h.example/a/*"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(minimal+c.input))
			if err == nil {
				t.Fatal("the configuration is accepted")
			}
			want := "f:" + strings.ReplaceAll(c.want, "\n", "\nf:")
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestRegistryAccess(t *testing.T) {
	for input, want := range map[string]string{
		"": "none",
		"registry: {host: h, username: u, token_file: /t}\n":                        "proxy",
		"registry: {host: h, username: u, token_file: /t}\nregistry_mirror: m\n":    "credential",
		"registries: [{host: h}]\n":                                                 "none",
		"registry_access: proxy\n":                                                  "proxy",
		"registry_access: none\nregistry: {host: h, username: u, token_file: /t}\n": "none",
	} {
		c, err := config.Parse("f", []byte(minimal+input))
		if err != nil || c.RegistryAccess != want {
			t.Errorf("%q: %q, %v, want %q", input, c.RegistryAccess, err, want)
		}
	}
}
