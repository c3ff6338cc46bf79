package guest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"testing"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
)

const planted = "pull/secret+7f3a=9c2e41"

func TestSecretsAreFoundInEachForm(t *testing.T) {
	s := guest.Secrets{"registry": planted, "another": "not-here-0815"}
	for name, text := range map[string]string{
		"as it is":           "x " + planted + " y",
		"config.json":        `{"auths":{"r":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("puller:"+planted)) + `"}}}`,
		"base64":             base64.StdEncoding.EncodeToString([]byte(planted)),
		"base64, moved":      base64.StdEncoding.EncodeToString([]byte("ab" + planted + "more")),
		"base64 of a header": base64.URLEncoding.EncodeToString([]byte(`{"username":"p","password":"` + planted + `"}`)),
		"base64, one":        base64.RawURLEncoding.EncodeToString([]byte("a" + planted)),
		"hexadecimal":        hex.EncodeToString([]byte(planted)),
		"URL":                "https://u:" + url.QueryEscape(planted) + "@registry.example/",
	} {
		if got := s.In([]byte(text)); len(got) != 1 || got[0] != "registry" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got := s.In([]byte("pull/secret+7f3a=9c2e4 and " + base64.StdEncoding.EncodeToString([]byte("pull/secret+7f3a")))); len(got) > 0 {
		t.Errorf("got %q in what holds none", got)
	}
}

func TestSecretsAreFoundInLargeFiles(t *testing.T) {
	s := guest.Secrets{"registry": planted}
	for _, at := range []int{0, 1, 4<<20 - 10, 4 << 20, 4<<20 + 64<<10 - 5, 9 << 20} {
		data := make([]byte, 10<<20)
		copy(data[at:], planted)
		if got, err := s.Search().Within(bytes.NewReader(data)); err != nil || len(got) != 1 {
			t.Errorf("at %d: %q %v", at, got, err)
		}
	}
	if got, err := s.Search().Within(bytes.NewReader(make([]byte, 9<<20))); err != nil || len(got) > 0 {
		t.Errorf("%q %v", got, err)
	}
}
