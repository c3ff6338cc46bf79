package contract

import (
	"testing"

	"github.com/opencontainers/go-digest"
)

// FuzzDigest: what we accept, the OCI library accepts as the same digest; what
// it accepts as SHA-256, we accept.
func FuzzDigest(f *testing.F) {
	seeds := []string{"sha256:" + testHex, testHex, "sha512:" + testHex + testHex, "sha256:", "", "sha256:" + testHex[1:]}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseDigest(s)
		other, otherErr := digest.Parse(s)
		want := otherErr == nil && other.Algorithm() == digest.SHA256
		if (err == nil) != want {
			t.Fatalf("%q: we say %v, the OCI library %v", s, err, otherErr)
		}
		if err == nil && (got.String() != s || got.Hex() != other.Encoded()) {
			t.Errorf("%q was read as %q", s, got)
		}
		var again Digest
		if text, _ := got.MarshalText(); again.UnmarshalText(text) != nil || again != got {
			t.Errorf("%q came back as %q", got, again)
		}
	})
}
