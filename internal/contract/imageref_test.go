package contract

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
)

const testHex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestImageRefParts(t *testing.T) {
	tests := []struct{ in, host, path, tag, digest string }{
		{in: "gitea.dooplex.hu/admin/felhom-controller:v0.34.0", host: "gitea.dooplex.hu", path: "admin/felhom-controller", tag: "v0.34.0"},
		{in: "registry.example:5000/app@sha256:" + testHex, host: "registry.example:5000", path: "app", digest: "sha256:" + testHex},
		{in: "localhost/a/b/c:1@sha256:" + testHex, host: "localhost", path: "a/b/c", tag: "1", digest: "sha256:" + testHex},
		{in: "[fd00::1]:8443/app:1", host: "[fd00::1]:8443", path: "app", tag: "1"},
		{in: "192.168.0.162:8443/a.b/c__d/e---f:_x.Y-z", host: "192.168.0.162:8443", path: "a.b/c__d/e---f", tag: "_x.Y-z"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			ref, err := ParseImageRef(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if ref.Host() != tt.host || ref.Path() != tt.path || ref.Tag() != tt.tag || ref.Digest().String() != tt.digest || ref.String() != tt.in || ref.Name() != tt.host+"/"+tt.path {
				t.Errorf("got host %q, path %q, tag %q, digest %q, name %q, all %q", ref.Host(), ref.Path(), ref.Tag(), ref.Digest(), ref.Name(), ref)
			}
			var again ImageRef
			text, _ := ref.MarshalText()
			if err := again.UnmarshalText(text); err != nil || again != ref {
				t.Errorf("%s came back as %v, error %v", text, again, err)
			}
			if err := again.UnmarshalText(nil); err != nil || !again.IsZero() {
				t.Errorf("no text came back as %v, error %v", again, err)
			}
		})
	}
}

func TestImageRefWithHost(t *testing.T) {
	ref, err := ParseImageRef("registry.example/team/app:1@sha256:" + testHex)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := ref.WithHost("192.168.0.162:8443")
	if want := "192.168.0.162:8443/team/app:1@sha256:" + testHex; err != nil || moved.String() != want {
		t.Errorf("got %v, error %v, want %s", moved, err, want)
	}
	for _, host := range []string{"", "agent", "https://agent.example", "agent.example/x"} {
		if got, err := ref.WithHost(host); err == nil {
			t.Errorf("host %q gave %v", host, got)
		}
	}
	if _, err := (ImageRef{}).WithHost("agent.example"); err == nil {
		t.Error("no image was moved")
	}
	if ref.Host() != "registry.example" {
		t.Error("WithHost changed its receiver")
	}
}

func imageSeeds() []string {
	return []string{
		"gitea.dooplex.hu/admin/felhom-controller:v0.34.0", "nginx", "docker.io/library/nginx:1.27", "docker.io/nginx:1", "localhost/app:1",
		"registry.example:5000/a/b@sha256:" + testHex, "registry.example/a:1@sha256:" + testHex, "registry.example/a--b:1", "registry.example/a._b:1",
		"registry.example/a___b:1", "[fd00::1]:5000/app:1", "registry.example:0/app:1", "REGISTRY.example/app:1", "index.docker.io/library/nginx:1",
		"registry.example/app:", "registry.example/app@", "registry.example/app@sha256:" + strings.ToUpper(testHex), "registry.example//app:1", "a.b/c:d:e",
		"registry.example/" + testHex + ":1", "registry.example/app:" + strings.Repeat("x", 129), "registry.example/" + strings.Repeat("a", 250) + ":1",
	}
}

// What we take, the engine's own parser takes as the same thing; what it takes
// in full form, we take, but for the rules that we add on purpose.
func compareWithDistribution(t *testing.T, s string) {
	t.Helper()
	got, err := ParseImageRef(s)
	named, theirErr := reference.ParseNormalizedNamed(s)
	if err == nil {
		if theirErr != nil {
			t.Fatalf("%q: we accept what the engine refuses: %v", s, theirErr)
		}
		tag, digest := "", ""
		if tagged, ok := named.(reference.Tagged); ok {
			tag = tagged.Tag()
		}
		if digested, ok := named.(reference.Digested); ok {
			digest = digested.Digest().String()
		}
		if reference.Domain(named) != got.Host() || reference.Path(named) != got.Path() || tag != got.Tag() || digest != got.Digest().String() || named.String() != got.String() || got.String() != s {
			t.Fatalf("%q: we read %q %q %q %q, the engine %q %q %q %q", s, got.Host(), got.Path(), got.Tag(), got.Digest(), reference.Domain(named), reference.Path(named), tag, digest)
		}
		return
	}
	if theirErr != nil || named.String() != s || reference.IsNameOnly(named) {
		return // refused there too, or not in full form
	}
	host := reference.Domain(named)
	_, digest, isDigested := strings.Cut(s, "@")
	switch {
	case isDigested && !strings.HasPrefix(digest, "sha256:"):
	case !looksLikeHost(host): // an upper-case first part is a registry to the engine
	case checkRegistryHost(host) != nil: // ports above 65535, labels above 63 characters, 0.0.0.0
	case len(host)+1+len(reference.Path(named)) > maxImageNameBytes: // the engine counts the path alone
	default:
		t.Errorf("%q: we refuse what the engine accepts: %v", s, err)
	}
}

func TestImageRefAgainstDistribution(t *testing.T) {
	for _, s := range imageSeeds() {
		compareWithDistribution(t, s)
	}
}

func FuzzImageRef(f *testing.F) {
	seeds := imageSeeds()
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(compareWithDistribution)
}
