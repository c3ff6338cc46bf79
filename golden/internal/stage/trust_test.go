package stage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
)

const authority = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

func TestTrusted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		file    overlay.File
		want    bool
		refused bool
	}{
		{"authority", overlay.File{Path: trustDir + "corp.crt", Data: []byte(authority)}, true, false},
		{"below a directory", overlay.File{Path: trustDir + "corp/root.crt", Data: []byte(authority)}, true, false},
		{"elsewhere", overlay.File{Path: "etc/corp.crt", Data: []byte("x")}, false, false},
		{"directory", overlay.File{Path: trustDir + "corp", Mode: os.ModeDir}, false, false},
		{"name that is passed over", overlay.File{Path: trustDir + "corp.pem", Data: []byte(authority)}, false, true},
		{"not PEM", overlay.File{Path: trustDir + "corp.crt", Data: []byte("0\x82\x03")}, false, true},
		{"a key", overlay.File{Path: trustDir + "corp.crt", Data: []byte(strings.ReplaceAll(authority, "CERTIFICATE", "PUBLIC KEY"))}, false, true},
	} {
		got, err := trusted([]overlay.File{tt.file})
		if got != tt.want || (fault.Of(err) == fault.Invalid) != tt.refused {
			t.Errorf("%s: got %v %v", tt.name, got, err)
		}
	}
}

// The root's own program runs before the recipe's scripts.
func TestAuthoritiesRebuildTheBundle(t *testing.T) {
	r := parseRecipe(t, "version: 1\nfiles: [{path: /"+trustDir+"corp.crt, content: \""+strings.ReplaceAll(authority, "\n", "\\n")+"\"}]\nscripts: [{path: own}]\n")
	root := t.TempDir()
	for _, dir := range []string{"usr/sbin", "usr/local/share/ca-certificates", "dev", "etc/apt"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var ran []string
	hooks := Hooks{Script: func(_ context.Context, _, path string, s recipe.Script) error {
		ran = append(ran, s.Path)
		if s.Path == trustName {
			text, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(text), "update-ca-certificates") {
				err = errors.New("it does something else")
			}
			return err
		}
		return nil
	}}
	p := Plan{Recipe: r}
	if err := p.customise(t.Context(), root, hooks); fault.Of(err) != fault.Invalid {
		t.Errorf("without ca-certificates: %v, want refused", err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/sbin", trustName), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.customise(t.Context(), root, hooks); err != nil || strings.Join(ran, " ") != trustName+" own" {
		t.Errorf("ran %v, error %v", ran, err)
	}
}

func parseRecipe(t *testing.T, text string) recipe.Recipe {
	t.Helper()
	r, err := recipe.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Dir = t.TempDir()
	return r
}
