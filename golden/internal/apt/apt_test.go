package apt

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/fault"
)

const deb822Sources = `Types: deb deb-src
# a comment inside
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
`

func TestMachine(t *testing.T) {
	fsys := fstest.MapFS{
		"etc/apt/sources.list":                  {Data: []byte("# deb http://old.example/debian bookworm main\ndeb-src http://a.example/d bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://other.example/apt stable tools # x\n")},
		"etc/apt/sources.list.d/debian.sources": {Data: []byte(deb822Sources)},
		"etc/apt/sources.list.d/x.save":         {Data: []byte("deb http://save.example/ bookworm main\n")},
	}
	got, err := Machine(fsys)
	if err != nil {
		t.Fatal(err)
	}
	want := []Source{
		{URI: "http://other.example/apt", Suites: []string{"stable"}, Components: []string{"tools"}, SignedBy: "/k.gpg"},
		{URI: "http://mirror.example/debian", Suites: []string{"bookworm", "bookworm-updates"}, Components: []string{"main"}, SignedBy: "/usr/share/keyrings/debian-archive-keyring.gpg"},
		{URI: "http://mirror.example/debian-security", Suites: []string{"bookworm-security"}, Components: []string{"main"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	main, security, ok := Debian(got, "bookworm")
	if !ok || main.URI != want[1].URI || security.URI != want[2].URI {
		t.Errorf("Debian: got %v %v %v", main, security, ok)
	}
	if _, _, ok := Debian(got[:1], "bookworm"); ok {
		t.Error("Debian took an archive without main for Debian's")
	}
	var again []Source
	for _, e := range Parse("etc/apt/sources.list.d/x.sources", string(Format(got[1:]))) {
		again = append(again, e.Source)
	}
	if diff := cmp.Diff(want[1:], again); diff != "" {
		t.Errorf("Format does not parse back, -want +got:\n%s", diff)
	}
}

// An installation from a disc leaves a line for it, which no build can use. The
// line's blanks are in brackets, and escapes of an address stay as they are.
func TestADiscIsNotTheArchive(t *testing.T) {
	list, err := Machine(fstest.MapFS{"etc/apt/sources.list": {Data: []byte(
		"deb cdrom:[Debian GNU/Linux 13.0.0 _Trixie_ - Official amd64 DVD]/ trixie main\ndeb http://a/x%20y/ trixie main\n")}})
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v, want two", list, err)
	}
	if main, _, ok := Debian(list, "trixie"); !ok || main.URI != "http://a/x%20y/" {
		t.Errorf("got %v %v, want the second", main, ok)
	}
}

// TestParse: what apt takes for a source, a comment, an option and a yes is that here too.
func TestParse(t *testing.T) {
	source := func(uri, key string) Source {
		return Source{URI: uri, Suites: []string{"s"}, Components: []string{"main"}, SignedBy: key}
	}
	for _, c := range []struct {
		name, file, text string
		want             []Entry
	}{
		{"tabs", "etc/apt/sources.list", "\tdeb\thttp://a/\ts\tmain\n", []Entry{{Source: source("http://a/", ""), Binary: true}}},
		{"sources", "etc/apt/sources.list.d/a.list", "deb-src http://a/ s main # deb http://b/ s main\n", []Entry{{Source: source("http://a/", "")}}},
		{"no last newline", "etc/apt/sources.list", "deb http://a/ s main", []Entry{{Source: source("http://a/", ""), Binary: true}}},
		{"options", "etc/apt/sources.list", "deb [ arch=amd64 Trusted=True signed-by=/k#1.gpg ] http://a/ s main\n", []Entry{{Source: source("http://a/", "/k#1.gpg"), Binary: true, Trusted: true}}},
		{"options without a blank", "etc/apt/sources.list", "deb [trusted=1]http://a/ s main\n", []Entry{{Source: source("http://a/", ""), Binary: true, Trusted: true}}},
		{"comment before the options", "etc/apt/sources.list", "# deb [trusted=yes] http://a/ s main\ndebx http://a/ s main\ndeb http://a/\n", nil},
		{"comment after brackets of the address", "etc/apt/sources.list", "deb [a=b] cdrom:[x #1]/ s main # deb\n", []Entry{{Source: source("cdrom:[x #1]/", ""), Binary: true}}},
		{"quotes", "etc/apt/sources.list", "deb [ a=\"b]c\" \"tr%75sted=yes\"] \"http://a/\" s main\n", []Entry{{Source: source("http://a/", ""), Binary: true, Trusted: true}}},
		{"a number", "etc/apt/sources.list", "deb [trusted=0x1] http://a/ s main\n", []Entry{{Source: source("http://a/", ""), Binary: true, Trusted: true}}},
		{"not closed", "etc/apt/sources.list", "deb [trusted=yes http://a/ s main\ndeb \"http://a/ s main\n\"deb\" http://a/ s main\n", nil},
		{"not trusted", "etc/apt/sources.list", "deb [trusted=no] http://a/ s main\n", []Entry{{Source: source("http://a/", ""), Binary: true}}},
		{"deb822", "etc/apt/sources.list.d/a.sources", "types: deb-src\nURIs: http://a/ http://b/\nSuites: s\nComponents: main\nTrusted: Enable\n", []Entry{{Source: source("http://a/", ""), Trusted: true}, {Source: source("http://b/", ""), Trusted: true}}},
		{"deb822 with a key", "etc/apt/sources.list.d/a.sources", "Types: deb\nURIs: http://a/\nSuites: s\nComponents: main\nSigned-By:\n -----BEGIN\n .\n", []Entry{{Source: source("http://a/", ""), Binary: true, Embedded: true}}},
		{"deb822 disabled", "etc/apt/sources.list.d/a.sources", "Types: deb\nURIs: http://a/\nSuites: s\nEnabled: False\n\nTypes: deb\nURIs: http://a/\nSuites: s\nEnabled: off\n", nil},
	} {
		if diff := cmp.Diff(c.want, Parse(c.file, c.text)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
	for name, want := range map[string]bool{
		"etc/apt/sources.list": true, "etc/apt/sources.list.d/a.list": true, "etc/apt/sources.list.d/a.sources": true,
		"etc/apt/sources.list.d/a.save": false, "etc/apt/sources.list.d/a/b.list": false, "etc/apt/sources.list.save": false,
	} {
		if got := IsSourceFile(name); got != want {
			t.Errorf("%s: want %v, got %v", name, want, got)
		}
	}
}

func TestIsPrivate(t *testing.T) {
	for uri, want := range map[string]bool{
		"http://mirror.example/debian": false, "https://192.0.2.7/debian": false, "file:///srv/debian": true, "http://localhost:3142/debian": true,
		"http://10.0.0.1/debian": true, "http://cache/debian": true, "http://cache.lan/debian": true, "http://u:p@mirror.example/": true, "http://[::1]/": true,
	} {
		if got := IsPrivate(uri); got != want {
			t.Errorf("%s: want %v, got %v", uri, want, got)
		}
	}
}

const inRelease = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nValid-Until: Sat, 28 Nov 2026 09:15:44 UTC\n\n-----BEGIN PGP SIGNATURE-----\n"

func TestRelease(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/debian/dists/trixie/InRelease":
			_, _ = w.Write([]byte(inRelease))
		case "/debian/dists/ill/InRelease":
			w.WriteHeader(http.StatusBadGateway)
		case "/debian/dists/huge/InRelease":
			_, _ = w.Write([]byte(strings.Repeat("x", maxRelease+1)))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	got, err := Client{}.Release(t.Context(), srv.URL+"/debian/", "trixie")
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 21, 9, 15, 44, 0, time.UTC); !got.Date.Equal(want) || len(got.SHA256) != 64 {
		t.Errorf("want date %v and a digest, got %+v", want, got)
	}
	if want := time.Date(2026, 11, 28, 9, 15, 44, 0, time.UTC); !got.ValidUntil.Equal(want) {
		t.Errorf("want valid until %v, got %v", want, got.ValidUntil)
	}
	for suite, want := range map[string]fault.Kind{"sid": fault.Invalid, "ill": fault.NotReady, "huge": fault.Invalid} {
		if _, err := (Client{}).Release(t.Context(), srv.URL+"/debian", suite); fault.Of(err) != want {
			t.Errorf("%s: want %v, got %v", suite, want, err)
		}
	}
	srv.Close()
	if _, err := (Client{}).Release(t.Context(), srv.URL+"/debian", "trixie"); fault.Of(err) != fault.NotReady || fault.HintOf(err) == "" {
		t.Errorf("mirror down: want not-ready with a hint, got %v", err)
	}
}

func TestReleaseFromDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "dists/trixie"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dists/trixie/InRelease"), []byte(inRelease), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Client{}).Release(t.Context(), "file://"+dir, "trixie"); err != nil {
		t.Error(err)
	}
	if _, err := (Client{}).Release(t.Context(), "file:"+dir, "sid"); fault.Of(err) != fault.Invalid {
		t.Errorf("want refused, got %v", err)
	}
}

func TestSnapshot(t *testing.T) {
	got := Snapshot("http://s.example/{snapshot}/d", time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC))
	if want := "http://s.example/20261101T020304Z/d"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}
