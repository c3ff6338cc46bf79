package stage

import (
	"os"
	"path/filepath"
	"testing"
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
