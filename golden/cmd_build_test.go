package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/provenance"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
)

func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	code = run(t.Context(), append([]string{program}, args...), nil, &out, &talk)
	return code, out.String(), talk.String()
}

func TestPrintRecipe(t *testing.T) {
	code, out, talk := call(t, "build", "--print-recipe")
	if code != 0 || talk != "" {
		t.Fatalf("code %d, stderr %q", code, talk)
	}
	if _, err := recipe.Parse("printed", []byte(out)); err != nil {
		t.Errorf("what is printed does not parse: %v", err)
	}
}

func TestWorkshopRefuses(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "golden.yaml")
	if err := os.WriteFile(bad, []byte("suit: trixie\nguest: {vmid: 7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "felhom-controller-bootstrap")
	if err := os.WriteFile(bin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"argument", []string{"build", "x"}, 2, "unexpected argument"},
		{"compression", []string{"build", "--compression", "best"}, 2, "--compression: want fast or release"},
		{"two modes", []string{"build", "--print-recipe", "--explain"}, 2, "give one of them"},
		{"json alone", []string{"build", "--json"}, 2, "without --explain"},
		{"explain one", []string{"build", "--explain", "a"}, 2, "missing argument B"},
		{"explain missing", []string{"build", "--explain", "a", "b"}, 2, "hint: felhom-golden build writes it beside the archive"},
		{"no bootstrap", []string{"build", "--bootstrap", filepath.Join(dir, "none")}, 2, "no felhom-controller-bootstrap at"},
		{"bad recipe", []string{"build", "--bootstrap", bin, "--recipe", bad}, 3, bad + `:1:1: error: suit: unknown key; did you mean "suite"?`},
		{"bad recipe, all findings", []string{"stage", filepath.Join(dir, "root"), "--bootstrap", bin, "--recipe", bad}, 3, "guest.vmid: want 100 to"},
		{"recipe missing", []string{"build", "--bootstrap", bin, "--recipe", filepath.Join(dir, "no.yaml")}, 2, "--print-recipe"},
		{"root not empty", []string{"stage", "--bootstrap", bin, dir}, 2, "is not empty"},
		{"stage without root", []string{"stage"}, 2, "missing argument ROOT"},
		{"pack without record", []string{"pack", dir}, 2, "felhom-golden stage writes it beside the root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, talk := call(t, tt.args...)
			if code != tt.code || out != "" || !strings.Contains(talk, tt.want) {
				t.Errorf("code %d (want %d), stdout %q, stderr %q; want %q", code, tt.code, out, talk, tt.want)
			}
			if _, err := os.Lstat(filepath.Join(dir, "root")); err == nil {
				t.Error("the root is there after a refusal")
			}
		})
	}
}

func TestWorkshopRefusesEpoch(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	code, out, talk := call(t, "build")
	if code != 2 || out != "" || !strings.Contains(talk, "SOURCE_DATE_EPOCH") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, talk)
	}
}

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, m provenance.Manifest) string {
		t.Helper()
		m.SchemaVersion = provenance.SchemaVersion
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+provenance.Suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := write("a", provenance.Manifest{Builder: "1", Archive: provenance.Archive{SHA256: "x"}})
	same := write("same", provenance.Manifest{Builder: "1", Archive: provenance.Archive{SHA256: "x"}})
	odd := write("odd", provenance.Manifest{Builder: "1", Archive: provenance.Archive{SHA256: "y"}})
	other := write("other", provenance.Manifest{Builder: "2"})
	for _, tt := range []struct {
		b, want, talk string
		code          int
		json          bool
	}{
		{same, "", "", 0, false},
		{odd, "", "felhom-golden diff a odd shows where", 1, false},
		{other, "builder: 1 -> 2\n", "1 recorded input(s) differ", 1, false},
		{other, `"input": "builder"`, "", 1, true},
	} {
		args := []string{"build", "--explain", a, tt.b}
		if tt.json {
			args = append(args, "--json")
		}
		code, out, talk := call(t, args...)
		if code != tt.code || !strings.Contains(out, tt.want) || tt.want == "" && out != "" || !strings.Contains(talk, tt.talk) {
			t.Errorf("%v: code %d (want %d), stdout %q, stderr %q", args, code, tt.code, out, talk)
		}
	}
}
