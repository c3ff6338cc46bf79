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

// An unprivileged container is refused before anything is fetched, also by --check.
func TestCheckNamespace(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		engine     Engine
		refused    bool
	}{
		{"machine", "         0          0 4294967295\n", Dpkg, false},
		{"container", "         0     100000      65536\n", Dpkg, true},
		{"container by name", "         0     100000       1000\n      1000       1000          1\n", Dpkg, true},
		{"container", "         0     100000      65536\n", Mmdebstrap, false},
	} {
		err := tt.engine.checkNamespace(fstest.MapFS{"proc/self/uid_map": {Data: []byte(tt.text)}})
		if (err != nil) != tt.refused || err != nil && (fault.Of(err) != fault.Failed || !strings.Contains(fault.HintOf(err), "engine: mmdebstrap")) {
			t.Errorf("%s, %s: want refused: %v, got %v (hint %q)", tt.name, tt.engine, tt.refused, err, fault.HintOf(err))
		}
	}
	if err := Dpkg.checkNamespace(fstest.MapFS{}); err != nil {
		t.Errorf("kernel without user namespaces: %v", err)
	}
}
