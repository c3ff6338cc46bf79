package contract

import (
	"errors"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/jsondoc"
)

const preloadText = `{
  "images": [
    {
      "reference": "registry.example/admin/felhom-controller:v0.34.0",
      "config_digest": "sha256:` + testHex + `",
      "manifest_digest": "sha256:` + testHex + `",
      "file": "felhom-controller.tar"
    },
    {
      "reference": "docker.io/library/nginx:1.27",
      "config_digest": "sha256:` + testHex + `",
      "file": "nginx-1.27.tar"
    }
  ]
}
`

func TestPreloadRoundTrip(t *testing.T) {
	for _, text := range []string{preloadText, "{\n  \"images\": []\n}\n"} {
		p, err := ParsePreload([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Encode()
		if err != nil || string(got) != text {
			t.Errorf("encoded as\n%s\nerror %v, want\n%s", got, err, text)
		}
	}
}

func TestPreloadFind(t *testing.T) {
	p, err := ParsePreload([]byte(preloadText))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := p.Find(p.Images[1].Reference); !ok || got.File != "nginx-1.27.tar" {
		t.Errorf("got %+v, %v", got, ok)
	}
	other, err := ParseImageRef("docker.io/library/nginx:1.28")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := p.Find(other); ok {
		t.Errorf("another tag gave %+v", got)
	}
}

// TestPreloadServes has each combination of pins.
func TestPreloadServes(t *testing.T) {
	config, manifest, other := testDigest(t, "a"), testDigest(t, "b"), testDigest(t, "c")
	kept := PreloadImage{File: "x.tar", ConfigDigest: config, ManifestDigest: manifest}
	lost := PreloadImage{File: "x.tar", ConfigDigest: config}
	for _, test := range []struct {
		name             string
		image            PreloadImage
		config, manifest Digest
		want             string // in the error; "": none
	}{
		{"not pinned", kept, Digest{}, Digest{}, ""},
		{"config", kept, config, Digest{}, ""},
		{"manifest", kept, Digest{}, manifest, ""},
		{"both", kept, config, manifest, ""},
		{"both, manifest of the index", kept, config, other, ""},
		{"other config", kept, other, Digest{}, "want config digest " + other.String()},
		{"other config, same manifest", kept, other, manifest, "want config digest " + other.String()},
		{"other manifest", kept, Digest{}, other, "want manifest digest " + other.String()},
		{"no manifest kept, not pinned", lost, Digest{}, Digest{}, ""},
		{"no manifest kept, config", lost, config, Digest{}, ""},
		{"no manifest kept, both", lost, config, manifest, ""},
		{"no manifest kept, manifest alone", lost, Digest{}, manifest, "pin controller_image_config_digest " + config.String()},
	} {
		err := test.image.Serves(test.config, test.manifest)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func testDigest(t *testing.T, digit string) Digest {
	t.Helper()
	d, err := ParseDigest(digestPrefix + strings.Repeat(digit, digestHexLen))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestParsePreloadRefuses(t *testing.T) {
	tests := []struct {
		name, old, with string
		want            string
		rule            Rule
	}{
		{name: "directory in the name", old: `felhom-controller.tar`, with: `../felhom-controller.tar`, want: "beside the index", rule: RulePreload},
		{name: "absolute name", old: `felhom-controller.tar`, with: `/etc/x.tar`, want: "beside the index", rule: RulePreload},
		{name: "hidden name", old: `felhom-controller.tar`, with: `.x.tar`, want: "beside the index", rule: RulePreload},
		{name: "name is all suffix", old: `felhom-controller.tar`, with: `.tar`, want: "not a docker archive", rule: RulePreload},
		{name: "not a tar", old: `felhom-controller.tar`, with: `felhom-controller.tar.gz`, want: "not a docker archive", rule: RulePreload},
		{name: "name empty", old: `felhom-controller.tar`, with: ``, want: "not a docker archive", rule: RulePreload},
		{name: "name long", old: `felhom-controller.tar`, with: strings.Repeat("a", 252) + ".tar", want: "beside the index", rule: RulePreload},
		{name: "file twice", old: `nginx-1.27.tar`, with: `felhom-controller.tar`, want: "images[1].file: an earlier image has this file", rule: RulePreload},
		{name: "reference twice", old: `docker.io/library/nginx:1.27`, with: `registry.example/admin/felhom-controller:v0.34.0`, want: "images[1].reference: an earlier image", rule: RulePreload},
		{name: "reference", old: `docker.io/library/nginx:1.27`, with: `nginx`, want: "images[1].reference: the registry is missing", rule: RuleImage},
		{name: "digest", old: `"sha256:`, with: `"sha1:`, want: "images[0].config_digest: the digest", rule: RuleDigest},
		{name: "missing", old: `"file": "nginx-1.27.tar"`, with: `"x_file": ""`, want: "images[1].file: the key is missing", rule: jsondoc.RuleMissing},
		{name: "no list", old: preloadText, with: `{"images":{}}`, want: "images: want a list", rule: jsondoc.RuleType},
		{name: "nothing in it", old: preloadText, with: `{}`, want: "images: the key is missing", rule: jsondoc.RuleMissing},
		{name: "item is not an object", old: preloadText, with: `{"images":["x"]}`, want: "images[0]: want an object", rule: jsondoc.RuleType},
		{name: "no object", old: preloadText, with: `[]`, want: "want an object", rule: jsondoc.RuleType},
		{name: "empty", old: preloadText, with: ``, want: "empty", rule: jsondoc.RuleSize},
		{name: "too large", old: preloadText, with: strings.Repeat(" ", MaxPreloadBytes+1), want: "at most 1048576 are read", rule: jsondoc.RuleSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(preloadText, tt.old, tt.with, 1)
			p, err := ParsePreload([]byte(text))
			invalid, ok := errors.AsType[*jsondoc.InvalidError](err)
			if !ok || !strings.Contains(err.Error(), tt.want) || len(p.Images) != 0 {
				t.Fatalf("got %+v, error %v, want one with %q", p, err, tt.want)
			}
			if got := invalid.Findings.List[0].Rule; got != tt.rule {
				t.Errorf("got rule %q, want %q", got, tt.rule)
			}
		})
	}
	if data, err := (Preload{Images: []PreloadImage{{File: "x.tar"}}}).Encode(); err == nil {
		t.Errorf("encoded as %s", data)
	}
}

// FuzzParsePreload: what is accepted reads back the same after encoding.
func FuzzParsePreload(f *testing.F) {
	seeds := []string{preloadText, `{"images":[]}`, `{"images":[{}]}`}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePreload(data)
		if err != nil {
			return
		}
		encoded, err := p.Encode()
		if err != nil {
			t.Fatalf("accepted what cannot be encoded: %v", err)
		}
		again, err := ParsePreload(encoded)
		if err != nil || len(again.Images) != len(p.Images) {
			t.Fatalf("read back as %+v, error %v", again, err)
		}
		for i := range p.Images {
			if p.Images[i] != again.Images[i] {
				t.Fatalf("image %d: got %+v, want %+v", i, again.Images[i], p.Images[i])
			}
		}
	})
}
