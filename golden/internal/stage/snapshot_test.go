package stage

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
)

// TestSnapshot: which state is asked for, what mmdebstrap is told, and what
// the guest gets. The service itself is not here.
func TestSnapshot(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		_, _ = w.Write([]byte("-----BEGIN PGP SIGNED MESSAGE-----\n\nDate: Sun, 01 Nov 2026 01:00:00 UTC\nValid-Until: Mon, 02 Nov 2026 01:00:00 UTC\n"))
	}))
	t.Cleanup(srv.Close)
	r, err := recipe.Parse("test", []byte("version: 1\napt:\n  snapshot: 2026-11-01T02:03:04Z\n  mirror: '"+srv.URL+
		"/debian/{snapshot}/'\n  security_mirror: '"+srv.URL+"/debian-security/{snapshot}/'\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Resolve(t.Context(), r, Options{Machine: os.DirFS("/"), Apt: apt.Client{}})
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(asked)
	if diff := cmp.Diff([]string{
		"/debian-security/20261101T020304Z/dists/trixie-security/InRelease",
		"/debian/20261101T020304Z/dists/trixie-updates/InRelease",
		"/debian/20261101T020304Z/dists/trixie/InRelease",
	}, asked); diff != "" {
		t.Errorf("asked for, -want +got:\n%s", diff)
	}
	if want := time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC); !p.Epoch.Equal(want) {
		t.Errorf("time of the image: want %s, got %s", want, p.Epoch)
	}
	if text := string(apt.Format(p.Sources)); strings.Count(text, "/20261101T020304Z/") != 2 || strings.Contains(text, "{snapshot}") {
		t.Errorf("want the snapshot in both sources, got\n%s", text)
	}
	// An old Release file is expired; that its signature is checked must not change.
	const expired = `--aptopt=Acquire::Check-Valid-Until "false"`
	args := p.bootstrapArgs("ROOT", "SOURCES")
	if !slices.Contains(args, expired) || strings.Contains(strings.ToLower(strings.Join(args, " ")), "unauthenticated") || strings.Contains(strings.Join(args, " "), "trusted") {
		t.Errorf("want %s and nothing about trust, got %q", expired, args)
	}
	if len(p.Guest) > 0 || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "apt.guest") {
		t.Errorf("want no source in the guest and a warning, got %v and %q", p.Guest, p.Warnings)
	}

	p.Recipe.Apt.Snapshot = ""
	if args := p.bootstrapArgs("ROOT", "SOURCES"); slices.Contains(args, expired) {
		t.Errorf("without a snapshot an expired Release file is taken: %q", args)
	}
}

// The warning says where a security archive was looked for.
func TestNoSecurityArchive(t *testing.T) {
	var state atomic.Value
	state.Store("")
	url := mirror(t, &state)
	here := fstest.MapFS{
		"etc/os-release":       {Data: []byte("ID=debian\nVERSION_CODENAME=trixie\n")},
		"etc/apt/sources.list": {Data: []byte("deb " + url + "/debian trixie main\n")},
	}
	for text, want := range map[string]string{
		"": "this machine's apt sources have none", "apt: {mirror: '" + url + "/debian'}\n": "apt.mirror is given and apt.security_mirror is not",
	} {
		r, err := recipe.Parse("test", []byte("version: 1\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Resolve(t.Context(), r, Options{Machine: here, Apt: apt.Client{}})
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(p.Warnings, "\n"); !strings.Contains(all, "no security archive: "+want) {
			t.Errorf("recipe %q: want %q, got\n%s", text, want, all)
		}
	}
}
