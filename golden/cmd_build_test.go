package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
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

func TestBakeRefuses(t *testing.T) {
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
		{"empty recipe", []string{"build", "--recipe", "", "--check"}, 2, "--recipe is empty"},
		{"empty cache", []string{"build", "--cache=", "--check"}, 2, "--cache is empty"},
		{"engine", []string{"build", "--engine", "debootstrap"}, 2, "engine \"debootstrap\": want dpkg or mmdebstrap"},
		{"two modes", []string{"build", "--print-recipe", "--explain"}, 2, "give one of them"},
		{"json alone", []string{"build", "--json"}, 2, "without --explain"},
		{"explain one", []string{"build", "--explain", "a"}, 2, "missing argument B"},
		{"explain missing", []string{"build", "--explain", "a", "b"}, 3, "hint: felhom-golden build writes it beside the archive"},
		{"no bootstrap", []string{"build", "--bootstrap", filepath.Join(dir, "none")}, 2, "no felhom-controller-bootstrap at"},
		{"bad recipe", []string{"build", "--bootstrap", bin, "--recipe", bad}, 3, bad + `:1:1: error: suit: unknown key; did you mean "suite"?`},
		{"bad recipe, all findings", []string{"stage", filepath.Join(dir, "root"), "--bootstrap", bin, "--recipe", bad}, 3, "guest.vmid: want 100 to"},
		{"recipe missing", []string{"build", "--bootstrap", bin, "--recipe", filepath.Join(dir, "no.yaml")}, 3, "--print-recipe"},
		{"root not empty", []string{"stage", "--bootstrap", bin, dir}, 2, "is not empty"},
		{"stage without root", []string{"stage"}, 2, "missing argument ROOT"},
		{"pack without record", []string{"pack", dir}, 3, "felhom-golden stage writes it beside the root"},
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

func TestBakeRefusesEpoch(t *testing.T) {
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

// TestBuildCheck: everything that would end a build later is found at once, and
// nothing is written.
func TestBuildCheck(t *testing.T) {
	dir := t.TempDir()
	bin, out, cache := filepath.Join(dir, "bin"), filepath.Join(dir, "out"), filepath.Join(dir, "cache")
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("bin", programHeader())
	write("key.gpg", "key")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/debian/dists/trixie/InRelease" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("Hash: SHA256\n\nDate: Sat, 21 Nov 2026 09:15:44 UTC\n"))
	}))
	t.Cleanup(mirror.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	good := "apt: {mirror: '" + mirror.URL + "/debian', keyring: key.gpg, security: false}\n"
	check := func(recipe, out string) (code int, stdout, stderr string) {
		return call(t, "build", "--check", "--bootstrap", bin, "--cache", cache, "--out", out, "--recipe", write("golden.yaml", recipe))
	}

	code, stdout, stderr := check(good, out)
	if want := filepath.Join(out, "vzdump-lxc-9100-2026_11_21-09_15_44.tar.zst\n"); code != 0 || stdout != want {
		t.Errorf("good: code %d, stdout %q, want %q, stderr:\n%s", code, stdout, want, stderr)
	}

	secret := "controller:\n  image: '" + strings.TrimPrefix(gone.URL, "http://") + "/a:1'\n  container: {environment: {DB_PASSWORD: hunter2hunter2, MODE: edge}}\n"
	for name, recipe := range map[string]string{"alone": good + secret, "beside a mistake": good + secret + "scripts: [{path: first.sh}]\n"} {
		_, _, stderr := check(recipe, out)
		if !strings.Contains(stderr, "warning: controller.container.environment.DB_PASSWORD looks like a secret") || strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "MODE") {
			t.Errorf("secret %s: stderr:\n%s", name, stderr)
		}
	}

	bad := "apt:\n  mirror: '" + mirror.URL + "/debian'\n  keyring: none.gpg\n  security: true\n" +
		"  sources: [{name: other, uri: '" + gone.URL + "', suites: [stable], components: [main], key: other.asc}]\n" +
		"scripts: [{path: first.sh}, {path: second.sh}]\nfiles: [{path: /etc/a, source: nowhere}]\n" +
		"preload: [{image: 'registry.example/a:1', archive: a.tar}, {image: '" + strings.TrimPrefix(gone.URL, "http://") + "/b:1'}]\n"
	code, stdout, stderr = check(bad, filepath.Join(dir, "missing"))
	if code != 2 || stdout != "" {
		t.Errorf("bad: code %d, stdout %q, want 2 and none", code, stdout)
	}
	for _, want := range []string{
		filepath.Join(dir, "missing") + " is not a directory", "hint: make it, or name another one",
		"read keyring of " + mirror.URL, "read keyring of " + gone.URL, "hint: look at apt.keyring", "hint: look at apt.sources[].key",
		"first.sh", "second.sh", "hint: look at scripts[].path", "read files for /etc/a", "hint: look at files[].source",
		"read state of suite trixie-updates", "read state of suite stable", "hint: the mirror does not answer",
		"preload registry.example/a:1", "hint: look at archive in the recipe", "/b:1",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("bad: no %q in\n%s", want, stderr)
		}
	}
	write("bin", "#!/bin/sh\n")
	code, stdout, stderr = check(good+"scripts: [{path: first.sh}]\n", out)
	if code != 3 || stdout != "" || !strings.Contains(stderr, "look at "+bin+": not a program for a guest") || !strings.Contains(stderr, "first.sh") {
		t.Errorf("another program for the guest: code %d, stderr:\n%s", code, stderr)
	}
	// Without --bootstrap: this test has none beside it.
	code, stdout, stderr = call(t, "build", "--check", "--cache", cache, "--out", out, "--recipe", write("golden.yaml", good+"scripts: [{path: first.sh}]\n"))
	if code != 2 || stdout != "" || !strings.Contains(stderr, "no felhom-controller-bootstrap for amd64: looked at") || !strings.Contains(stderr, "first.sh") {
		t.Errorf("no program for the guest: code %d, stderr:\n%s", code, stderr)
	}
	code, _, stderr = check("suit: a\nname: B\n", out)
	if code != 3 || !strings.Contains(stderr, "suit: unknown key") || !strings.Contains(stderr, "name: want lower-case") {
		t.Errorf("recipe: code %d, stderr:\n%s", code, stderr)
	}
	write("bin", programHeader())
	code, _, stderr = check("apt: {mirror: '"+gone.URL+"', keyring: key.gpg, security: false}\n", out)
	if code != 5 {
		t.Errorf("mirror down: code %d, want 5, stderr:\n%s", code, stderr)
	}
	left, err := os.ReadDir(out)
	if _, statErr := os.Stat(cache); err != nil || len(left) > 0 || !os.IsNotExist(statErr) {
		t.Errorf("written: %v %v, cache %v", left, err, statErr)
	}
	if code, _, stderr := call(t, "build", "--check", "--explain", "a", "b"); code != 2 || !strings.Contains(stderr, "--check and --explain are given") {
		t.Errorf("two modes: code %d, stderr %q", code, stderr)
	}
}

// programHeader is a static program for amd64 that consists of its header.
func programHeader() string {
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01")
	for at, value := range map[int]byte{16: 2, 18: 62, 20: 1, 52: 64, 54: 56} {
		h[at] = value
	}
	return string(h)
}
