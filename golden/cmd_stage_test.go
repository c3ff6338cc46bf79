package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The guest's program is found for the architecture of the image, not for that of this machine.
func TestFindBootstrap(t *testing.T) {
	const amd64, arm64 = "felhom-controller-bootstrap-linux-amd64", "felhom-controller-bootstrap-linux-arm64"
	for _, tt := range []struct {
		name  string
		files []string
		arch  string
		want  string // "" is an error
	}{
		{"package", []string{"usr/lib/felhom-golden/" + amd64, "usr/lib/felhom-golden/" + arm64}, "arm64", "usr/lib/felhom-golden/" + arm64},
		{"package of one", []string{"usr/lib/felhom-golden/" + amd64}, "arm64", ""},
		{"beside", []string{"usr/bin/felhom-controller-bootstrap", "usr/lib/felhom-golden/" + amd64}, "amd64", "usr/bin/felhom-controller-bootstrap"},
		{"dist", []string{"usr/bin/felhom-controller-bootstrap", "usr/bin/" + amd64, "usr/bin/" + arm64}, "arm64", "usr/bin/" + arm64},
		{"nowhere", nil, "amd64", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, name := range append(tt.files, "usr/bin/felhom-golden") {
				name = filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, nil, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			got, err := findBootstrap(filepath.Join(root, "usr/bin/felhom-golden"), tt.arch)
			if tt.want == "" {
				if err == nil {
					t.Errorf("got %s, want an error", got)
				}
				return
			}
			if want := filepath.Join(root, tt.want); err != nil || got != want {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
		})
	}
}
