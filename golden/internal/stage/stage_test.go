package stage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
)

// closeNow closes what a test has opened.
func closeNow(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func tree(t *testing.T, links map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, target := range links {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, at); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

var enabled = map[string]string{
	"etc/systemd/system/multi-user.target.wants/docker.service": "/usr/lib/systemd/system/docker.service",
	"etc/systemd/system/timers.target.wants/fstrim.timer":       "/lib/systemd/system/fstrim.timer",
	"etc/systemd/system/getty.target.wants/getty@tty1.service":  "/usr/lib/systemd/system/getty@.service",
	"etc/systemd/system/sshd.service":                           "/usr/lib/systemd/system/ssh.service",
	"etc/systemd/system/dead.service":                           "/dev/null",
}

func TestDisableAndPreset(t *testing.T) {
	root := tree(t, enabled)
	r, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, r) })
	if err := disable(r, []string{"fstrim.timer", "not-there.service"}); err != nil {
		t.Fatal(err)
	}
	files := []overlay.File{
		{Path: "etc/systemd/system/x.target.wants/own.service", Mode: fs.ModeSymlink, Link: "/usr/lib/systemd/system/own.service"},
		{Path: "etc/systemd/system/ssh.service", Mode: fs.ModeSymlink, Link: "/dev/null"},
		{Path: "etc/motd", Mode: 0o644},
	}
	f, err := Preset(os.DirFS(root), files)
	if err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(strings.Split(string(f.Data), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") || l == "" })
	want := []string{"enable docker.service", "enable getty@.service tty1", "enable own.service", "disable *"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEnableLinks(t *testing.T) {
	got := enableLinks("usr/lib/systemd/system", "a.service", []byte("[Unit]\nWantedBy=no.target\n[Install]\n# WantedBy=no.target\nWantedBy=x.target y.target\nRequiredBy=z.target\n"))
	paths := []string{}
	for _, f := range got {
		paths = append(paths, f.Path+" "+f.Link)
	}
	want := []string{
		"etc/systemd/system/x.target.wants/a.service /usr/lib/systemd/system/a.service",
		"etc/systemd/system/y.target.wants/a.service /usr/lib/systemd/system/a.service",
		"etc/systemd/system/z.target.requires/a.service /usr/lib/systemd/system/a.service",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"tree/a": 0o600, "tree/sub/run": 0o700} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	r, err := recipe.Parse("x", []byte("files:\n- {path: /opt/t, source: tree}\n- {path: /etc/m, content: hi, mode: '4711', uid: 3}\n- {path: /etc/l, link: m}\n- {path: /srv/d, directory: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.Dir = dir
	list, err := Files(&r)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range list {
		got[f.Path] = f.Mode.String()
	}
	want := map[string]string{"opt/t/a": "-rw-r--r--", "opt/t/sub": "drwxr-xr-x", "opt/t/sub/run": "-rwxr-xr-x", "etc/m": "urwx--x--x", "etc/l": "Lrwxrwxrwx", "srv/d": "drwxr-xr-x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r.Files[0].Source = "none"
	if _, err := Files(&r); fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" {
		t.Errorf("missing source: want refused with a hint, got %v", err)
	}
}

func TestCacheBuildsOnce(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	var built atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			l, err := c.Layer(t.Context(), "k", nil, func(_ context.Context, root string) error {
				built.Add(1)
				return os.WriteFile(filepath.Join(root, "f"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(l.Root, "f")); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := built.Load(); n != 1 {
		t.Errorf("built %d times, want once", n)
	}
}

func TestCacheAfterFailure(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	boom := errors.New("boom")
	if _, err := c.Layer(t.Context(), "k", nil, func(context.Context, string) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("want boom, got %v", err)
	}
	// What a killed build leaves, and a base from before a restart of the machine.
	for _, dir := range []string{".tmp-k-DEAD/root", "k/root"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, "layers", dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "layers/k/boot-id"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := c.Layer(t.Context(), "k", nil, func(context.Context, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, l) })
	if l.Reused {
		t.Error("a base from before a restart was used")
	}
	entries, err := os.ReadDir(filepath.Join(c.Dir, "layers"))
	if err != nil || len(entries) != 1 {
		t.Errorf("want the one base, got %v %v", entries, err)
	}
}

func TestCacheTrim(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	var first *Layer
	for i := range layersKept + 3 {
		key := string(rune('a' + i))
		l, err := c.Layer(t.Context(), key, nil, func(context.Context, string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		old := time.Unix(int64(i), 0)
		if err := os.Chtimes(filepath.Join(c.Dir, "layers", key), old, old); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = l // the oldest stays in use
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { closeNow(t, first) })
	if err := c.Trim(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(c.Dir, "layers"))
	if err != nil || len(entries) != layersKept+1 || entries[0].Name() != "a" {
		t.Errorf("want the newest %d and the one in use, got %v %v", layersKept, entries, err)
	}
}

func TestCacheWaitEnds(t *testing.T) {
	c := Cache{Dir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Layer(t.Context(), "k", nil, func(context.Context, string) error {
		_, err := c.Layer(ctx, "k", cancel, nil)
		return err
	})
	if fault.Of(err) != fault.Interrupted {
		t.Errorf("want interrupted, got %v", err)
	}
}

func machine(mirror string) fs.FS {
	return fstest.MapFS{
		"etc/os-release":       {Data: []byte("ID=debian\nVERSION_CODENAME=bookworm\n")},
		"etc/apt/sources.list": {Data: []byte("deb " + mirror + "/debian bookworm main\ndeb " + mirror + "/sec bookworm-security main\n")},
	}
}

func mirror(t *testing.T, state *atomic.Value) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("Hash: SHA256\n\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nX: " + r.URL.Path + state.Load().(string) + "\n"))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestKeys changes one input of the base after the other: each must give
// another base, and what is not an input must not.
func TestKeys(t *testing.T) {
	var state atomic.Value
	state.Store("one")
	url := mirror(t, &state)
	dir := t.TempDir()
	script := filepath.Join(dir, "s.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := func(text, seal string) string {
		t.Helper()
		r, err := recipe.Parse("x", []byte("version: 1\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		r.Dir = dir
		p, err := Resolve(t.Context(), r, Options{Machine: machine(url), SealSpec: seal})
		if err != nil {
			t.Fatal(err)
		}
		return p.BaseKey()
	}
	base := key("", "")
	if key("", "") != base {
		t.Error("the same recipe gives two keys")
	}
	if key("guest: {memory: 4096}\ndocker: {daemon: {debug: true, log-driver: local}}\n", "") != base {
		t.Error("settings of the overlay change the base")
	}
	seen := map[string]string{base: "default"}
	check := func(name, k string) {
		t.Helper()
		if other, ok := seen[k]; ok {
			t.Errorf("%s: the same base as %s", name, other)
		}
		seen[k] = name
	}
	check("seal", key("", "x"))
	check("package", key("packages: {include: [vim]}\n", ""))
	check("suite", key("suite: bookworm\n", ""))
	check("security", key("apt: {security: false}\n", ""))
	check("units", key("units: {disable: []}\n", ""))
	check("script", key("scripts: [{path: s.sh}]\n", ""))
	check("script args", key("scripts: [{path: s.sh, args: [a]}]\n", ""))
	check("file seen by a script", key("scripts: [{path: s.sh}]\nfiles: [{path: /a, content: b}]\n", ""))
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	check("script text", key("scripts: [{path: s.sh}]\n", ""))
	state.Store("two")
	check("state of the mirror", key("", ""))
}

func TestResolve(t *testing.T) {
	var state atomic.Value
	state.Store("")
	url := mirror(t, &state)
	r, err := recipe.Default()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Resolve(t.Context(), r, Options{Machine: machine(url)})
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 21, 9, 15, 44, 0, time.UTC); !p.Epoch.Equal(want) {
		t.Errorf("epoch: want %v, got %v", want, p.Epoch)
	}
	if len(p.Releases) != 3 || len(p.Sources) != 2 || p.Sources[1].Suites[0] != "trixie-security" {
		t.Errorf("sources: got %+v", p.Sources)
	}
	// The test's mirror is on loopback: it must not go out with the image.
	if len(p.Guest) != 0 || len(p.Warnings) != 2 {
		t.Errorf("guest: want nothing and two warnings, got %+v %v", p.Guest, p.Warnings)
	}
	if _, err := Resolve(t.Context(), r, Options{Machine: fstest.MapFS{"etc/os-release": {Data: []byte("VERSION_CODENAME=x\n")}}}); fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" {
		t.Errorf("no sources: want refused with a hint, got %v", err)
	}
	r.Packages.Exclude = []string{"docker.io"}
	if set := packageSet(r); slices.Contains(set, "docker.io") || !slices.Contains(set, "docker.io-") {
		t.Errorf("excluded package: got %v", set)
	}
}

func TestCheckBinary(t *testing.T) {
	static := filepath.Join(t.TempDir(), "static")
	src := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(src, []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", static, src)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := CheckBinary(static, "amd64"); err != nil {
		t.Errorf("static program: %v", err)
	}
	for name, err := range map[string]error{"other architecture": CheckBinary(static, "arm64"), "missing": CheckBinary("/nowhere", "amd64"), "no ELF": CheckBinary(src, "amd64"), "dynamic": CheckBinary("/bin/sh", "amd64")} {
		if fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("%s: want refused with a hint, got %v", name, err)
		}
	}
}

// Debian 13's sshd-keygen.service waits for a first boot that an empty
// machine-id never gives: the unit of this package is enabled in its place.
func TestOverlayHostKeys(t *testing.T) {
	files := maps.Clone(enabled)
	files["usr/bin/ssh-keygen"], files["usr/sbin/sshd"] = "/bin/sh", "/bin/sh"
	files["etc/systemd/system/ssh.service.wants/sshd-keygen.service"] = "/usr/lib/systemd/system/sshd-keygen.service"
	p := Plan{}
	list, err := p.Overlay(tree(t, files), Own{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range list {
		got[f.Path] = string(f.Data) + f.Link
	}
	if got["etc/systemd/system/sshd-keygen.service"] != "/dev/null" {
		t.Error("sshd-keygen.service is not masked")
	}
	if preset := got[presetPath]; !strings.Contains(preset, "enable felhom-ssh-hostkeys.service\n") || strings.Contains(preset, "sshd-keygen") {
		t.Errorf("preset: %q", preset)
	}
}

func TestOverlay(t *testing.T) {
	root := tree(t, enabled)
	r, err := recipe.Parse("x", []byte("files: [{path: /etc/docker/daemon.json, content: mine}, {path: /etc/motd, content: hi}]\ncontroller: {container: {ports: ['8080:8080']}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := Plan{Recipe: r}
	list, err := p.Overlay(root, Own{Units: fstest.MapFS{"x.path": {Data: []byte("[Install]\nWantedBy=multi-user.target\n")}}, DpkgConfig: "path-exclude=/usr/share/man/*\n"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i, f := range list {
		got[f.Path] = string(f.Data) + f.Link
		if i > 0 && list[i-1].Path >= f.Path {
			t.Errorf("not sorted: %s before %s", list[i-1].Path, f.Path)
		}
	}
	if got["etc/docker/daemon.json"] != "mine" {
		t.Errorf("the recipe's file lost: %q", got["etc/docker/daemon.json"])
	}
	if !strings.Contains(got[presetPath], "enable x.path\n") || !strings.HasSuffix(got[presetPath], "disable *\n") {
		t.Errorf("preset: %q", got[presetPath])
	}
	if got["etc/systemd/system/sys-kernel-debug.mount"] != "/dev/null" || got["etc/felhom/controller-container.yaml"] != "ports:\n    - 8080:8080\n" {
		t.Errorf("got %v", got)
	}
	if got["etc/systemd/system/sshd-keygen.service"] != "" || strings.Contains(got[presetPath], "felhom-ssh-hostkeys") {
		t.Error("host keys are made in a guest without an SSH server")
	}
	p.Recipe.Units.Enable = []string{"none.service"}
	if _, err := p.Overlay(root, Own{}); fault.Of(err) != fault.Invalid {
		t.Errorf("unknown unit: want refused, got %v", err)
	}
}
