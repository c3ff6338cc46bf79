package stage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/felhom/felhom-golden/internal/fault"
)

// The version of a Perl program is in its text; any other program is asked.
func TestToolVersion(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const asked = "#!/bin/sh\necho tool 9.9 asked\n"
	for text, want := range map[string]string{
		"#!/usr/bin/perl\n#\n\nuse strict;\nour $VERSION = '1.3.5';\ndie;\n":        "felhom-tool 1.3.5",
		"#!/usr/bin/perl\nprint \"felhom-tool 7\\n\";\n":                            "felhom-tool 7",
		"#!/usr/bin/perl\nour $VERSION = '1' . '2';\nprint \"felhom-tool 8\\n\";\n": "felhom-tool 8",
		asked: "tool 9.9 asked",
		asked + "exit\nour $VERSION = '1.3.5';\n": "tool 9.9 asked",
	} {
		if err := os.WriteFile(filepath.Join(dir, "felhom-tool"), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		tool := Tool{Name: "felhom-tool"}
		if err := tool.resolve(t.Context()); err != nil || tool.Version != want {
			t.Errorf("%q: %q, %v, want %q", text, tool.Version, err, want)
		}
	}
}

// Who builds with dpkg is not told to install mmdebstrap.
func TestToolMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, engine := range []Engine{Dpkg, Mmdebstrap} {
		for _, tool := range engine.tools() {
			hint := fault.HintOf(tool.resolve(t.Context()))
			if !strings.Contains(hint, "apt-get install ") || strings.Contains(hint, "mmdebstrap") != (tool.Name == "mmdebstrap") {
				t.Errorf("%s: the hint is %q", tool.Name, hint)
			}
		}
	}
}

// A container without the ids of an image is refused before anything is fetched, also by --check.
func TestCheckIDs(t *testing.T) {
	const all = "         0          0 4294967295\n"
	for _, tt := range []struct{ name, uids, gids, missing string }{
		{"machine", all, all, ""},
		{"unprivileged container", "         0     100000      65536\n", "         0     100000      65536\n", ""},
		{"with an id of the machine's", "0 100000 1000\n1000 1000 1\n1001 101001 64535\n", "0 100000 65536\n", ""},
		{"in another order", "1000 101000 64536\n0 100000 1000\n", all, ""},
		{"exactly", "0 100000 65535\n", "0 100000 65535\n", ""},
		{"one id", "         0       1000          1\n", all, "no uid 1,"},
		{"without the last", all, "0 100000 65534\n", "no gid 65534,"},
		{"a gap", "0 100000 1000\n1001 101001 64535\n", all, "no uid 1000,"},
		{"without root", "1 1 65535\n", all, "no uid 0,"},
		{"none", "", all, "no uid 0,"},
		{"a kernel without user namespaces", "-", "-", ""},
	} {
		machine := fstest.MapFS{}
		for name, text := range map[string]string{"proc/self/uid_map": tt.uids, "proc/self/gid_map": tt.gids} {
			if text != "-" {
				machine[name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		err := checkIDs(machine)
		if tt.missing == "" && err == nil {
			continue
		}
		if tt.missing == "" || err == nil || fault.Of(err) != fault.Failed || !strings.Contains(err.Error(), tt.missing) || fault.HintOf(err) == "" {
			t.Errorf("%s: want %q, got %v (hint %q)", tt.name, tt.missing, err, fault.HintOf(err))
		}
	}
}
