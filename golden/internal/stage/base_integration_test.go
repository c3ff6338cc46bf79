//go:build integration

package stage

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
)

// small keeps the builds of these tests short: what is tested is the way, not Docker.
const small = `version: 1
apt: {security: false}
packages:
  exclude: [docker.io, iptables, ca-certificates, dhcpcd-base, ifupdown, iproute2]
`

func parse(t *testing.T, text string) recipe.Recipe {
	t.Helper()
	r, err := recipe.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Dir = t.TempDir()
	return r
}

// engines are all of them: what holds for one must hold for the others.
var engines = []Engine{Mmdebstrap, Dpkg}

func TestBase(t *testing.T) {
	for _, e := range engines {
		t.Run(string(e), func(t *testing.T) { testBase(t, e) })
	}
}

func testBase(t *testing.T, e Engine) {
	cache := Cache{Dir: t.TempDir()}
	p, err := Resolve(t.Context(), parse(t, small), Options{Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	start := time.Now()
	l, err := p.Base(t.Context(), cache, Hooks{Log: &log})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	t.Logf("first build took %v", time.Since(start))
	if l.Reused {
		t.Error("the first build says that it reused a base")
	}
	for _, gone := range []string{"etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/systemd/system/timers.target.wants/apt-daily.timer"} {
		if _, err := os.Lstat(filepath.Join(l.Root, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(l.Root, "etc/apt/sources.list.d/*")); len(left) > 0 {
		t.Errorf("sources of the build are still there: %v", left)
	}
	if dev, _ := os.ReadDir(filepath.Join(l.Root, "dev")); len(dev) > 0 {
		t.Errorf("/dev is not empty: %v", dev)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := p.Base(t.Context(), cache, Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, again) })
	if !again.Reused {
		t.Error("the second build made the base again")
	}
}

// TestBaseFaults provokes real faults of mmdebstrap and apt.
func TestBaseFaults(t *testing.T) {
	for _, e := range engines {
		t.Run(string(e), func(t *testing.T) { testBaseFaults(t, e) })
	}
}

func testBaseFaults(t *testing.T, e Engine) {
	for _, tt := range []struct {
		name, text string
		change     func(t *testing.T, p *Plan)
		code       fault.Kind
		want       string
	}{
		{"unknown package", small + "  include: [no-such-package-felhom]\n", nil, fault.Invalid, "no-such-package-felhom"},
		{"wrong key", small, func(t *testing.T, p *Plan) {
			empty := filepath.Join(t.TempDir(), "none.gpg")
			if err := os.WriteFile(empty, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			p.Sources[0].SignedBy = empty
		}, fault.Mismatch, "trixie"},
		{"mirror down", small, func(_ *testing.T, p *Plan) { p.Sources[0].URI = "http://127.0.0.1:9/debian" }, fault.NotReady, "trixie"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache := Cache{Dir: t.TempDir()}
			p, err := Resolve(t.Context(), parse(t, tt.text), Options{Engine: e})
			if err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(t, &p)
			}
			_, err = p.Base(t.Context(), cache, Hooks{})
			if fault.Of(err) != tt.code || fault.HintOf(err) == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want %v with a hint and %q, got %v (%v, hint %q)", tt.code, tt.want, fault.Of(err), err, fault.HintOf(err))
			}
			checkNothingLeft(t, cache)
		})
	}
}

// TestBaseDiskFull fills the cache's disk while the indexes are read, and while packages are installed.
func TestBaseDiskFull(t *testing.T) {
	for _, tt := range []struct {
		engine Engine
		size   string
	}{{Mmdebstrap, "200m"}, {Dpkg, "40m"}, {Dpkg, "300m"}} {
		t.Run(string(tt.engine)+" "+tt.size, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+tt.size); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			cache := Cache{Dir: filepath.Join(dir, "cache")}
			p, err := Resolve(t.Context(), parse(t, small), Options{Engine: tt.engine})
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Base(t.Context(), cache, Hooks{})
			if fault.Of(err) != fault.Failed || !strings.Contains(fault.HintOf(err), "the cache's disk is full") {
				t.Errorf("want the full disk, got %v (%v, hint %q)", fault.Of(err), err, fault.HintOf(err))
			}
			checkNothingLeft(t, cache)
		})
	}
}

func TestBaseInterrupted(t *testing.T) {
	for e, when := range map[Engine]string{Mmdebstrap: "installing", Dpkg: "Setting up"} {
		t.Run(string(e), func(t *testing.T) { testBaseInterrupted(t, e, when) })
	}
}

func testBaseInterrupted(t *testing.T, e Engine, when string) {
	cache := Cache{Dir: t.TempDir()}
	p, err := Resolve(t.Context(), parse(t, small), Options{Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = p.Base(ctx, cache, Hooks{Log: writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte(when)) {
			cancel()
		}
		return len(b), nil
	})})
	if fault.Of(err) != fault.Interrupted {
		t.Errorf("want interrupted, got %v", err)
	}
	checkNothingLeft(t, cache)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func checkNothingLeft(t *testing.T, c Cache) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.Dir, "layers"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("the cache holds %v", entries)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), c.Dir) {
		t.Error("something is still mounted in the cache")
	}
}
